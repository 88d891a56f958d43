/** Headings of a driver's README, after its name. */
export const sections = [
  "What it is for",
  "Options",
  "Example",
  "How a packet travels",
  "What is left behind",
] as const;

/** The text under a heading of the second level. @throws when there is none */
export function sectionOf(readme: string, heading: string): string {
  const [, ...parts] = readme.split(/^## /m);
  const found = parts.find((part) => part.startsWith(`${heading}\n`));
  if (found === undefined) throw new Error(`there is no section "${heading}"`);
  return found.slice(heading.length + 1);
}

/** The keys in the first column of the table under "Options", sorted. */
export const optionsIn = (readme: string): string[] =>
  [...sectionOf(readme, "Options").matchAll(/^\| `([^`]+)` \|/gm)].map(([, key = ""]) => key).toSorted();

/** A command, and what it prints. */
export interface Sample {
  /** The lines above the block that has it: they say where it is typed. */
  readonly above: string;
  readonly command: string;
  readonly output: string;
}

/** The commands of the `console` blocks in a text: lines that begin with `$ `, each followed by its output. */
export const samplesIn = (text: string): Sample[] =>
  [...text.matchAll(/(.*?)^```console\n(.*?)^```$/gms)].flatMap(([, above = "", block = ""]) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((part) => {
        const end = part.indexOf("\n");
        return { above, command: part.slice(0, end), output: part.slice(end + 1) };
      }),
  );

/** What is never the same twice: ids, tokens, and how long an answer took. */
export const withoutChance = (output: string): string =>
  output
    .replaceAll(/\bSWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}\b/g, "<token>")
    .replaceAll(/\b(?=[a-z]*\d)[0-9a-z]{25}\b/g, "<swarm id>")
    .replaceAll(/\b[0-9a-f]{64}\b/g, "<id>")
    .replaceAll(/\b[0-9a-f]{12}\b/g, "<short id>")
    .replaceAll(/\b\d+\.\d+ ms\b/g, "<time>");
