import type { Kernel } from "../kernel/kernel.ts";
import type { SandboxId } from "../model/ids.ts";
import type { DnsConfig } from "../model/sandbox.ts";
import type { Store } from "../store/store.ts";
import { answerForwarded, answerName, answerReverse, answerShort, bounded, type Handler } from "./answer.ts";
import { Directories } from "./directories.ts";
import { createExchange } from "./exchange.ts";
import { type Answer, openServer, type SandboxServer } from "./server.ts";
import { responseCode, writeAnswer } from "./wire.ts";

export interface ResolverParts {
  readonly store: Pick<Store, "snapshot" | "watch">;
  readonly kernel: Pick<Kernel, "socket" | "nft">;
  readonly log: { warn(fields: object, message: string): void };
  /** The host's own resolver configuration, for sandboxes that name no server. */
  readonly upstream: () => DnsConfig;
}
export interface Resolver {
  /** Begins to answer inside a sandbox; no more than once. @throws {KernelError} when the namespace is not there */
  open(id: SandboxId): Promise<void>;
  close(id: SandboxId): void;
  /** Sandboxes in which it answers. */
  listening(): SandboxId[];
  stop(): void;
}

/** The name server of every sandbox: names of its own networks from the store, the rest forwarded. */
export function createResolver({ store, kernel, log, upstream }: ResolverParts): Resolver {
  const servers = new Map<SandboxId, Promise<SandboxServer>>();
  const directories = new Directories();
  const ended = new AbortController();
  void followed(store, directories, ended.signal);
  const refused = (sandbox: SandboxId) =>
    log.warn({ sandbox }, "too many DNS queries are waiting for other servers: more are refused");
  const handlers: readonly Handler[] = [
    answerName,
    answerReverse,
    answerShort,
    bounded(answerForwarded(createExchange(kernel), upstream), refused),
  ];

  const answerTo =
    (sandbox: SandboxId): Answer =>
    async (query, transport, signal) => {
      const asked = { rows: store.snapshot(), directories, sandbox, query, transport, signal };
      for (const handler of handlers) {
        const answer = await handler(asked);
        if (answer !== undefined) return answer;
      }
      return writeAnswer(query, [], responseCode.serverFailure);
    };

  const close = (id: SandboxId) => {
    const server = servers.get(id);
    servers.delete(id);
    server?.then((s) => s.close()).catch(() => {}); // it failed to open: the opener was told
  };
  return {
    async open(id) {
      const known = servers.get(id);
      if (known !== undefined) return void (await known);
      const opening = openServer(kernel, `sandbox:${id}`, answerTo(id));
      servers.set(id, opening);
      try {
        await opening;
      } catch (error) {
        if (servers.get(id) === opening) servers.delete(id);
        throw error;
      }
    },
    close,
    listening: () => [...servers.keys()],
    stop() {
      ended.abort();
      for (const id of servers.keys()) close(id);
    },
  };
}

/** Whoever asks by a packet finds what was committed before: a commit comes here in the turn in which it is told. */
async function followed(store: Pick<Store, "watch">, directories: Directories, signal: AbortSignal): Promise<void> {
  for await (const commit of store.watch(signal)) directories.follow(commit);
}
