import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import * as grpc from "@grpc/grpc-js";

export interface CallOptions {
  /** Milliseconds from now. */
  readonly deadline?: number;
}
type Streamed<M> = AsyncIterable<M> & { cancel(): void };
export interface Duplex<I, O> extends Streamed<O> {
  write(message: I): boolean;
  end(): void;
  once(event: "drain" | "error", listener: () => void): unknown;
}
// biome-ignore lint/suspicious/noExplicitAny: the generated services' own shape
type Method = { input: any; output: any; methodKind: string };
type Call<M extends Method, O> = M["methodKind"] extends "unary"
  ? (request: MessageInitShape<M["input"]>, options?: O) => Promise<MessageShape<M["output"]>>
  : M["methodKind"] extends "server_streaming"
    ? (request: MessageInitShape<M["input"]>, options?: O) => Streamed<MessageShape<M["output"]>>
    : (options?: O) => Duplex<MessageInitShape<M["input"]>, MessageShape<M["output"]>>;
type Service<M extends GenServiceMethods, O> = { readonly [K in keyof M]: Call<M[K], O> };
/** The functions of a generated service: `ServiceOf<typeof Tasks>`. */
export type ServiceOf<S, O extends CallOptions = CallOptions> = S extends GenService<infer M> ? Service<M, O> : never;

/** Status codes of gRPC that are answered to here (grpc.io, status codes). */
export const code = {
  cancelled: 1,
  unknown: 2,
  invalid: 3,
  deadline: 4,
  notFound: 5,
  exists: 6,
  exhausted: 8,
  failedPrecondition: 9,
  outOfRange: 11,
  internal: 13,
  unavailable: 14,
} as const;
/** True when the other side refused with one of these codes. */
export const hasCode = (error: unknown, ...codes: number[]) => codes.includes((error as grpc.ServiceError).code);
/** What the other side says, without the code in front. */
export const detailsOf = (error: unknown) => (error as grpc.ServiceError).details ?? (error as Error).message;

/**
 * The calls of a generated service as functions, over one channel. They reject with gRPC's error (`hasCode`, `detailsOf`).
 * @param headers what is sent along with a call
 */
export function serviceOf<M extends GenServiceMethods, O extends CallOptions = CallOptions>(
  channel: grpc.Client,
  service: GenService<M>,
  headers: (options?: O) => Readonly<Record<string, string>> = () => ({}),
): Service<M, O> {
  const metadata = (options?: O) => {
    const sent = new grpc.Metadata();
    for (const [name, value] of Object.entries(headers(options))) sent.set(name, value);
    return sent;
  };
  const until = ({ deadline }: CallOptions = {}) => (deadline === undefined ? {} : { deadline: Date.now() + deadline });
  const methods = (service.methods as DescMethod[]).map((method) => {
    const path = `/${service.typeName}/${method.name}`;
    const write = (value: object) => Buffer.from(toBinary(method.input, create(method.input, value as never)));
    const read = (bytes: Buffer) => fromBinary(method.output, bytes);
    const unary = (request: object, options?: O) =>
      new Promise((resolve, reject) => {
        channel.makeUnaryRequest(path, write, read, request, metadata(options), until(options), (error, reply) =>
          error === null ? resolve(reply) : reject(error),
        );
      });
    // Whoever reads a stream gets its error; nobody else has to.
    const streaming = (request: object, options?: O) =>
      channel
        .makeServerStreamRequest(path, write, read, request, metadata(options), until(options))
        .on("error", () => {});
    const duplex = (options?: O) =>
      channel.makeBidiStreamRequest(path, write, read, metadata(options), until(options)).on("error", () => {});
    const calls = { unary, server_streaming: streaming, bidi_streaming: duplex, client_streaming: duplex };
    return [method.localName, calls[method.methodKind]] as const;
  });
  return Object.fromEntries(methods) as unknown as Service<M, O>;
}
