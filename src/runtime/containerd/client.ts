import * as grpc from "@grpc/grpc-js";
import { code, type CallOptions as AnyCallOptions, hasCode, type ServiceOf, serviceOf } from "../../lib/grpc.ts";
import { Containers } from "./gen/containers_pb.ts";
import { Content } from "./gen/content_pb.ts";
import { Diff } from "./gen/diff_pb.ts";
import { Events } from "./gen/events_pb.ts";
import { Images } from "./gen/images_pb.ts";
import { Leases } from "./gen/leases_pb.ts";
import { Snapshots } from "./gen/snapshots_pb.ts";
import { Tasks } from "./gen/tasks_pb.ts";
import { Version } from "./gen/version_pb.ts";

export { code, detailsOf, type Duplex, hasCode } from "../../lib/grpc.ts";

export interface CallOptions extends AnyCallOptions {
  /** Keeps what the call makes until the lease is deleted. */
  readonly lease?: string;
}

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
  readonly containers: ServiceOf<typeof Containers, CallOptions>;
  readonly tasks: ServiceOf<typeof Tasks, CallOptions>;
  readonly snapshots: ServiceOf<typeof Snapshots, CallOptions>;
  readonly content: ServiceOf<typeof Content, CallOptions>;
  readonly diff: ServiceOf<typeof Diff, CallOptions>;
  readonly images: ServiceOf<typeof Images, CallOptions>;
  readonly leases: ServiceOf<typeof Leases, CallOptions>;
  readonly events: ServiceOf<typeof Events, CallOptions>;
  readonly version: ServiceOf<typeof Version, CallOptions>;
  readonly namespace: string;
  close(): void;
}

/** containerd's gRPC API at a unix socket. It connects when it is first used, and again when containerd comes back. */
export function createContainerdClient(socket: string, namespace: string): ContainerdClient {
  const channel = new grpc.Client(`unix:${socket}`, grpc.credentials.createInsecure(), {
    "grpc.initial_reconnect_backoff_ms": 50,
    "grpc.max_reconnect_backoff_ms": 500,
    "grpc.max_receive_message_length": 64 << 20,
  });
  const headers = ({ lease }: CallOptions = {}) => ({
    "containerd-namespace": namespace,
    ...(lease === undefined ? {} : { "containerd-lease": lease }),
  });
  return {
    containers: serviceOf(channel, Containers, headers),
    tasks: serviceOf(channel, Tasks, headers),
    snapshots: serviceOf(channel, Snapshots, headers),
    content: serviceOf(channel, Content, headers),
    diff: serviceOf(channel, Diff, headers),
    images: serviceOf(channel, Images, headers),
    leases: serviceOf(channel, Leases, headers),
    events: serviceOf(channel, Events, headers),
    version: serviceOf(channel, Version, headers),
    namespace,
    close: () => channel.close(),
  };
}
