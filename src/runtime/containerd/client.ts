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
import { Containers } from "./gen/containers_pb.ts";
import { Content } from "./gen/content_pb.ts";
import { Diff } from "./gen/diff_pb.ts";
import { Events } from "./gen/events_pb.ts";
import { Images } from "./gen/images_pb.ts";
import { Leases } from "./gen/leases_pb.ts";
import { Snapshots } from "./gen/snapshots_pb.ts";
import { Tasks } from "./gen/tasks_pb.ts";
import { Version } from "./gen/version_pb.ts";

export interface CallOptions {
  /** Keeps what the call makes until the lease is deleted. */
  readonly lease?: string;
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
type Call<M extends Method> = M["methodKind"] extends "unary"
  ? (request: MessageInitShape<M["input"]>, options?: CallOptions) => Promise<MessageShape<M["output"]>>
  : M["methodKind"] extends "server_streaming"
    ? (request: MessageInitShape<M["input"]>, options?: CallOptions) => Streamed<MessageShape<M["output"]>>
    : (options?: CallOptions) => Duplex<MessageInitShape<M["input"]>, MessageShape<M["output"]>>;
type Service<M extends GenServiceMethods> = { readonly [K in keyof M]: Call<M[K]> };

/** Status codes of gRPC that are answered to here (grpc.io, status codes). */
export const code = { cancelled: 1, notFound: 5, exists: 6, failedPrecondition: 9, unavailable: 14 } as const;
/** True when containerd refused with one of these codes. */
export const hasCode = (error: unknown, ...codes: number[]) => codes.includes((error as grpc.ServiceError).code);
/** What containerd says, without the code in front. */
export const detailsOf = (error: unknown) => (error as grpc.ServiceError).details ?? (error as Error).message;

/** Leaves out that something is not there. */
export async function unlessMissing<R>(call: Promise<R>): Promise<R | undefined> {
  try {
    return await call;
  } catch (error) {
    if (hasCode(error, code.notFound)) return undefined;
    throw error;
  }
}

/** The snapshotter of every image and container. */
export const snapshotter = "overlayfs";

export interface ContainerdClient {
  readonly containers: Service<MethodsOf<typeof Containers>>;
  readonly tasks: Service<MethodsOf<typeof Tasks>>;
  readonly snapshots: Service<MethodsOf<typeof Snapshots>>;
  readonly content: Service<MethodsOf<typeof Content>>;
  readonly diff: Service<MethodsOf<typeof Diff>>;
  readonly images: Service<MethodsOf<typeof Images>>;
  readonly leases: Service<MethodsOf<typeof Leases>>;
  readonly events: Service<MethodsOf<typeof Events>>;
  readonly version: Service<MethodsOf<typeof Version>>;
  readonly namespace: string;
  close(): void;
}
type MethodsOf<S> = S extends GenService<infer M> ? M : never;

/** containerd's gRPC API at a unix socket. It connects when it is first used, and again when containerd comes back. */
export function createContainerdClient(socket: string, namespace: string): ContainerdClient {
  const channel = new grpc.Client(`unix:${socket}`, grpc.credentials.createInsecure(), {
    "grpc.initial_reconnect_backoff_ms": 50,
    "grpc.max_reconnect_backoff_ms": 500,
    "grpc.max_receive_message_length": 64 << 20,
  });
  const serve = <M extends GenServiceMethods>(service: GenService<M>) => serviceOf(channel, service, namespace);
  return {
    containers: serve(Containers),
    tasks: serve(Tasks),
    snapshots: serve(Snapshots),
    content: serve(Content),
    diff: serve(Diff),
    images: serve(Images),
    leases: serve(Leases),
    events: serve(Events),
    version: serve(Version),
    namespace,
    close: () => channel.close(),
  };
}

function serviceOf<M extends GenServiceMethods>(
  channel: grpc.Client,
  service: GenService<M>,
  namespace: string,
): Service<M> {
  const metadata = ({ lease }: CallOptions = {}) => {
    const headers = new grpc.Metadata();
    headers.set("containerd-namespace", namespace);
    if (lease !== undefined) headers.set("containerd-lease", lease);
    return headers;
  };
  const until = ({ deadline }: CallOptions = {}) => (deadline === undefined ? {} : { deadline: Date.now() + deadline });
  const methods = (service.methods as DescMethod[]).map((method) => {
    const path = `/${service.typeName}/${method.name}`;
    const write = (value: object) => Buffer.from(toBinary(method.input, create(method.input, value as never)));
    const read = (bytes: Buffer) => fromBinary(method.output, bytes);
    const unary = (request: object, options?: CallOptions) =>
      new Promise((resolve, reject) => {
        channel.makeUnaryRequest(path, write, read, request, metadata(options), until(options), (error, reply) =>
          error === null ? resolve(reply) : reject(error),
        );
      });
    // Whoever reads a stream gets its error; nobody else has to.
    const streaming = (request: object, options?: CallOptions) =>
      channel
        .makeServerStreamRequest(path, write, read, request, metadata(options), until(options))
        .on("error", () => {});
    const duplex = (options?: CallOptions) =>
      channel.makeBidiStreamRequest(path, write, read, metadata(options), until(options)).on("error", () => {});
    const calls = { unary, server_streaming: streaming, bidi_streaming: duplex, client_streaming: duplex };
    return [method.localName, calls[method.methodKind]] as const;
  });
  return Object.fromEntries(methods) as unknown as Service<M>;
}
