interface Figure {
  readonly what: string;
  readonly value: string;
  readonly goal: string;
  readonly met: boolean | undefined;
}
const figures: Figure[] = [];

export const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

export const report = (what: string, value: number, goal: number, better: "low" | "high", note: string, unit = "") =>
  figures.push({
    what,
    value: `${value.toFixed(2)}${unit} (${note})`,
    goal: `${better === "low" ? "≤" : "≥"} ${goal}${unit}`,
    met: better === "low" ? value <= goal : value >= goal,
  });

/** A figure that has no goal. */
export const tell = (what: string, value: number, note: string, unit = "") =>
  figures.push({ what, value: `${value.toFixed(2)}${unit} (${note})`, goal: "", met: undefined });

export function print(): void {
  for (const { what, value, goal, met } of figures) {
    const word = met === undefined ? "" : met ? "met" : "missed";
    console.log(`${word.padEnd(6)}  ${what.padEnd(42)} ${value.padEnd(36)} ${goal}`);
  }
}
