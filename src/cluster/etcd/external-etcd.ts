import { setTimeout as sleep } from "node:timers/promises";
import { unavailable } from "../../lib/errors.ts";
import { isAnswering } from "../../store/etcd/answers.ts";
import { createEtcdClient, type EtcdAddress } from "../../store/etcd/client.ts";
import type { Members } from "./etcd-members.ts";

/** The etcd under a manager: a process of ours, or a cluster that the user runs. */
export interface ManagerEtcd {
  start(): Promise<void>;
  /** Resolves when it answers. @throws {EngineError} unavailable when the signal comes first */
  ready(signal: AbortSignal): Promise<void>;
  /** Another member is about to come. */
  expectOthers(): Promise<void>;
  /** Its vote was taken: resolves when the others know it. */
  farewell(): Promise<void>;
  /** Looks after it no longer. */
  stop(): Promise<void>;
  /** Ends it, if it is ours, and removes its data. */
  leave(): Promise<void>;
}

const [pause, patience] = [100, 1000]; // milliseconds

/** A cluster that the user runs (`--external-etcd`): it is neither started nor ended, and its members are not ours to change. */
export function externalEtcd(address: EtcdAddress): ManagerEtcd {
  return {
    start: async () => {},
    async ready(signal) {
      const client = createEtcdClient(address);
      try {
        for (;;) {
          if (await isAnswering(client, patience)) return;
          if (signal.aborted) throw unavailable(`no etcd answers at ${address.endpoints.join(", ")}`);
          await sleep(pause);
        }
      } finally {
        client.close();
      }
    },
    expectOthers: async () => {},
    farewell: async () => {},
    stop: async () => {},
    leave: async () => {},
  };
}

const member = { id: 0n, name: "", peerUrls: [], clientUrls: [], learner: false } as const;

/** In place of members where they are the user's. */
export const externalMembers: Members = {
  list: async () => [],
  addLearner: async () => member,
  promote: async () => {},
  remove: async () => {},
};
