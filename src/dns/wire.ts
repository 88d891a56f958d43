import packet, { type Answer, type DecodedPacket, type OptAnswer, type Question } from "dns-packet";

/** RFC 1035 section 4.1.1. */
export const responseCode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  noSuchName: 3,
  notImplemented: 4,
  refused: 5,
} as const;
const authoritative = 1 << 10;
const recursionDesired = 1 << 8;
const recursionAvailable = 1 << 7;
/** Bits of the third byte. */
const isResponse = 0x80;
const opcodes = 0x78;
const truncated = 0x02;
const headerSize = 12;
const plainLimit = 512; // bytes of a UDP answer to a client without EDNS (RFC 1035 section 4.2.1)
const largestLimit = 4096;
const largestMessage = 0xffff; // over TCP: the length before it has two bytes
const largestQuery = 4096; // bytes; a name has 255, a signature some hundreds
/** Records that a query may have (as miekg/dns, dockerd's library, has it): IXFR has an authority, EDNS and signatures are additional. */
const mostRecords = { answers: 1, authorities: 1, additionals: 2 } as const;

export interface Query {
  readonly bytes: Buffer;
  readonly id: number;
  readonly question: Question;
  /** Bytes that an answer over UDP may have. */
  readonly limit: number;
  /** True when the client speaks EDNS: then answers do (RFC 6891 section 7). */
  readonly edns: boolean;
}

/** What to do with bytes from a client: a query, an answer that says what is wrong, or nothing. */
export function readQuery(bytes: Buffer): Query | { readonly answer: Buffer } | undefined {
  if (bytes.length < headerSize || ((bytes[2] ?? 0) & isResponse) !== 0) return undefined;
  const id = bytes.readUInt16BE(0);
  const refusal = (code: number) => ({
    answer: packet.encode({ type: "response", id, flags: recursionAvailable | code }),
  });
  if (((bytes[2] ?? 0) & opcodes) !== 0) return refusal(responseCode.notImplemented);
  if (bytes.length > largestQuery || !hasCountsOfQuery(bytes)) return refusal(responseCode.formatError);
  let decoded: DecodedPacket;
  try {
    decoded = packet.decode(bytes);
  } catch {
    return refusal(responseCode.formatError);
  }
  const question = decoded.questions?.[0];
  if (question === undefined) return refusal(responseCode.formatError);
  const edns = decoded.additionals?.find((a): a is OptAnswer => a.type === "OPT");
  const limit = Math.min(Math.max(edns?.udpPayloadSize ?? plainLimit, plainLimit), largestLimit);
  return { bytes, id, question, limit, edns: edns !== undefined };
}

/** Looked at before anything is decoded: thousands of records that point to one long name take the daemon's time. */
function hasCountsOfQuery(bytes: Buffer): boolean {
  return (
    bytes.readUInt16BE(4) === 1 &&
    bytes.readUInt16BE(6) <= mostRecords.answers &&
    bytes.readUInt16BE(8) <= mostRecords.authorities &&
    bytes.readUInt16BE(10) <= mostRecords.additionals
  );
}

const ownEdns: OptAnswer = {
  type: "OPT",
  name: ".",
  udpPayloadSize: largestLimit,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
};

/**
 * An answer of our own to `query`. No records with code 0 means: the name is there, the type is not. The question in it is
 * the client's byte for byte: a name in no UTF-8, or a class without a word, would not survive being written anew.
 */
export function writeAnswer(query: Query, answers: Answer[], code: number = responseCode.noError): Buffer {
  const desired = ((query.bytes[2] ?? 0) & 1) === 1 ? recursionDesired : 0;
  const flags = recursionAvailable | desired | (code === responseCode.noError ? authoritative : 0) | code;
  const additionals = query.edns ? [ownEdns] : [];
  const rest = packet.encode({ type: "response", id: query.id, flags, answers, additionals });
  rest.writeUInt16BE(1, 4);
  const question = query.bytes.subarray(headerSize, questionEnd(query.bytes));
  return Buffer.concat([rest.subarray(0, headerSize), question, rest.subarray(headerSize)]);
}

const ownRecord = packet.encode({ type: "response", additionals: [ownEdns] }).subarray(headerSize);

/**
 * The answer with as many of its records as the client can take. Over UDP it says that it was cut short, so that the
 * client asks again over TCP; over TCP, where 65535 bytes are the limit, there is nothing better to ask for.
 */
export function fit(query: Query, answer: Buffer, transport: "udp" | "tcp"): Buffer {
  const limit = transport === "udp" ? query.limit : largestMessage;
  if (answer.length <= limit) return answer;
  if (answer.readUInt16BE(4) !== 1) return writeAnswer(query, [], responseCode.serverFailure);
  const additional = query.edns ? ownRecord : Buffer.alloc(0);
  const { count, end } = wholeRecords(answer, limit - additional.length);
  const cut = Buffer.concat([answer.subarray(0, end), additional]);
  if (transport === "udp") cut[2] = (cut[2] ?? 0) | truncated;
  for (const [index, size] of [count, 0, query.edns ? 1 : 0].entries()) cut.writeUInt16BE(size, 6 + 2 * index);
  return cut;
}

/** Records of the answer section that end before `room` bytes. Names in them point backwards only, into what is kept. */
function wholeRecords(answer: Buffer, room: number): { readonly count: number; readonly end: number } {
  const fixed = 10; // type, class, lifetime, length of the data
  let end = questionEnd(answer);
  for (let count = 0; ; count += 1) {
    const data = nameEnd(answer, end) + fixed;
    if (count === answer.readUInt16BE(6) || data > room) return { count, end };
    const next = data + answer.readUInt16BE(data - 2);
    if (next > room) return { count, end };
    end = next;
  }
}

export const isTruncated = (answer: Buffer) => ((answer[2] ?? 0) & truncated) !== 0;
export const codeOf = (answer: Buffer) => (answer[3] ?? 0) & 15;

/** True when `answer` is one to the question asked with this id: anything else may be forged (RFC 5452 section 9.1). */
export function answersTo(asked: Buffer, answer: Buffer): boolean {
  if (answer.length < headerSize || ((answer[2] ?? 0) & isResponse) === 0) return false;
  if (answer.readUInt16BE(0) !== asked.readUInt16BE(0)) return false;
  // Some servers refuse without repeating the question.
  if (answer.readUInt16BE(4) === 0) return codeOf(answer) !== responseCode.noError;
  const end = questionEnd(asked);
  const name = (bytes: Buffer) => bytes.toString("latin1", headerSize, end - 4).toLowerCase();
  const kind = (bytes: Buffer) => bytes.toString("latin1", end - 4, end);
  return name(asked) === name(answer) && kind(asked) === kind(answer);
}

/** Where the first question ends: a name, type and class. */
const questionEnd = (bytes: Buffer) => nameEnd(bytes, headerSize) + 4;

/** Where a name ends: labels up to the empty one, or up to a pointer (RFC 1035 section 4.1.4). */
function nameEnd(bytes: Buffer, start: number): number {
  let at = start;
  for (let length = bytes[at]; length !== undefined && length !== 0; length = bytes[at]) {
    if (length >= 0xc0) return at + 2;
    at += 1 + length;
  }
  return at + 1;
}

/** Over TCP each message has its length before it (RFC 1035 section 4.2.2). */
export function frame(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** @returns what takes bytes as they come and passes on whole messages */
export function frameReader(onMessage: (message: Buffer) => void): (chunk: Buffer) => void {
  let waiting = Buffer.alloc(0);
  return (chunk) => {
    waiting = Buffer.concat([waiting, chunk]);
    while (waiting.length >= 2 && waiting.length >= 2 + waiting.readUInt16BE(0)) {
      const end = 2 + waiting.readUInt16BE(0);
      onMessage(Buffer.from(waiting.subarray(2, end)));
      waiting = waiting.subarray(end);
    }
  };
}

/** Whole messages of a stream. Whoever takes one at a time lets the sender wait. */
export async function* framesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const whole: Buffer[] = [];
  const read = frameReader((message) => whole.push(message));
  for await (const chunk of chunks) {
    read(chunk);
    yield* whole.splice(0);
  }
}
