import packet, { type Answer, type DecodedPacket, type Question } from "dns-packet";

/** RFC 1035 section 4.1.1, RFC 6895 section 2.3. */
export const responseCode = { noError: 0, formatError: 1, serverFailure: 2, notImplemented: 4, refused: 5 } as const;
const authoritative = 1 << 10;
const recursionDesired = 1 << 8;
const recursionAvailable = 1 << 7;
const plainLimit = 512; // bytes of a UDP answer to a client without EDNS (RFC 1035 section 4.2.1)
const largestLimit = 4096;

export interface Query {
  readonly bytes: Buffer;
  readonly id: number;
  readonly question: Question;
  /** Bytes that an answer over UDP may have. */
  readonly limit: number;
}

/** What to do with bytes from a client: a query, an answer that says what is wrong, or nothing. */
export function readQuery(bytes: Buffer): Query | { readonly answer: Buffer } | undefined {
  const header = 12;
  if (bytes.length < header || ((bytes[2] ?? 0) & 0x80) !== 0) return undefined;
  const id = bytes.readUInt16BE(0);
  let decoded: DecodedPacket;
  try {
    decoded = packet.decode(bytes);
  } catch {
    return { answer: emptyAnswer(id, responseCode.formatError) };
  }
  if (((bytes[2] ?? 0) & 0x78) !== 0) return { answer: emptyAnswer(id, responseCode.notImplemented) };
  const [question, ...more] = decoded.questions ?? [];
  if (question === undefined || more.length > 0) return { answer: emptyAnswer(id, responseCode.formatError) };
  const edns = decoded.additionals?.find((a) => a.type === "OPT") as { udpPayloadSize?: number } | undefined;
  const limit = Math.min(Math.max(edns?.udpPayloadSize ?? plainLimit, plainLimit), largestLimit);
  return { bytes, id, question, limit };
}

const emptyAnswer = (id: number, code: number) =>
  packet.encode({ type: "response", id, flags: recursionAvailable | code });

/** An answer of our own to `query`. No records with code 0 means: the name is there, the type is not. */
export function writeAnswer(query: Query, answers: Answer[], code: number = responseCode.noError): Buffer {
  const desired = ((query.bytes[2] ?? 0) & 1) === 1 ? recursionDesired : 0;
  const flags = recursionAvailable | desired | (code === responseCode.noError ? authoritative : 0) | code;
  return packet.encode({ type: "response", id: query.id, flags, questions: [query.question], answers });
}

/** Over UDP an answer that is too long goes without records and says so: the client asks again over TCP. */
export function fitUdp(query: Query, answer: Buffer): Buffer {
  if (answer.length <= query.limit) return answer;
  const cut = writeAnswer(query, []);
  cut[2] = (cut[2] ?? 0) | 2;
  return cut;
}
