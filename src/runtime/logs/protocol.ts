/** What the daemon asks the logger, one JSON object a line; each is answered with one line. */
export type LoggerRequest =
  /** Holds the FIFOs of a container, writes its log, passes on what comes. */
  | {
      readonly verb: "open";
      readonly id: string;
      readonly stdout: string;
      readonly stderr?: string;
      readonly log: string;
    }
  /** Reads what is left in the FIFOs, lets go of them, ends the followers. Answered with the id if it held them. */
  | { readonly verb: "close"; readonly id: string }
  /** From here on the connection carries frames of this container's output, until `close`. It need not be open yet. */
  | { readonly verb: "follow"; readonly id: string }
  | { readonly verb: "list" };
export type LoggerReply = { readonly ids: readonly string[] } | { readonly error: string };

export type StreamName = "stdout" | "stderr";
const headerSize = 5;
const numbers: Readonly<Record<StreamName, number>> = { stdout: 1, stderr: 2 };

/** A piece of output on a follower's connection: which stream, how many bytes, the bytes. */
export function outputFrame(stream: StreamName, data: Uint8Array): Buffer {
  const header = Buffer.alloc(headerSize);
  header.writeUInt8(numbers[stream], 0);
  header.writeUInt32BE(data.length, 1);
  return Buffer.concat([header, data]);
}

/** Reads frames from bytes as they come. */
export function outputReader(onOutput: (stream: StreamName, data: Buffer) => void): (chunk: Buffer) => void {
  let waiting: Buffer = Buffer.alloc(0);
  return (chunk) => {
    waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
    while (waiting.length >= headerSize && waiting.length >= headerSize + waiting.readUInt32BE(1)) {
      const end = headerSize + waiting.readUInt32BE(1);
      onOutput(waiting[0] === numbers.stderr ? "stderr" : "stdout", waiting.subarray(headerSize, end));
      waiting = waiting.subarray(end);
    }
  };
}

/** Splits text into lines as it comes. */
export function lineReader(onLine: (line: string) => void): (chunk: Buffer) => void {
  let waiting = "";
  return (chunk) => {
    const lines = (waiting + chunk.toString("utf8")).split("\n");
    waiting = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  };
}
