/** What a link's alias says: which engine made it, and for whom. `peer` is the far end of a veth, which no plan names by itself. */
export interface Mark {
  readonly engine: string;
  readonly owner: string;
  readonly peer: boolean;
}

/** Longest alias that Linux takes, with its zero byte: IFALIASZ (include/uapi/linux/if.h). */
const longest = 256;

/** `tombolo:<engine>:<owner>`, and `tombolo:<engine>:peer:<owner>` for the far end of a veth. @throws {RangeError} when Linux would not take it */
export function writeMark({ engine, owner, peer }: Mark): string {
  const text = `tombolo:${engine}:${peer ? "peer:" : ""}${owner}`;
  if (engine === "" || engine.includes(":")) throw new RangeError(`engine name "${engine}" is empty or has a colon`);
  if (Buffer.byteLength(text) >= longest) throw new RangeError(`mark ${text} is longer than ${longest - 1} bytes`);
  return text;
}

/** @returns undefined when the text is no mark of Tombolo */
export function readMark(alias: string | undefined): Mark | undefined {
  const found = alias === undefined ? null : /^tombolo:([^:]+):(peer:)?(.+)$/.exec(alias);
  if (found === null) return undefined;
  const [, engine = "", peer, owner = ""] = found;
  return { engine, owner, peer: peer !== undefined };
}
