import type { Answer as DnsRecord } from "dns-packet";
import type { Kernel } from "../kernel/kernel.ts";
import type { IpAddress, SandboxId } from "../model/ids.ts";
import type { DnsConfig } from "../model/sandbox.ts";
import type { NamespaceName } from "../model/plan.ts";
import type { Snapshot, Store } from "../store/store.ts";
import { forward } from "./forward.ts";
import { addressesOf, nameOf, reverseAddress } from "./names.ts";
import { SandboxServer } from "./server.ts";
import { type Query, responseCode, writeAnswer } from "./wire.ts";

const lifetime = 600; // seconds that clients may keep an answer (as dockerd says)
const mostForwards = 1024; // queries under way to other servers, of all sandboxes

export interface ResolverParts {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly log: { warn(fields: object, message: string): void };
  /** The host's own resolver configuration, for sandboxes that name no server. */
  readonly upstream: () => DnsConfig;
}
export interface Resolver {
  /** Begins to answer inside a sandbox; no more than once. */
  open(id: SandboxId): Promise<void>;
  close(id: SandboxId): void;
  /** Sandboxes in which it answers. */
  listening(): SandboxId[];
  stop(): void;
}

/** The name server of every sandbox: names of its own networks from the store, the rest forwarded. */
export function createResolver({ store, kernel, log, upstream }: ResolverParts): Resolver {
  const servers = new Map<SandboxId, Promise<SandboxServer>>();
  let forwards = 0;

  async function answer(id: SandboxId, query: Query, transport: "udp" | "tcp", signal: AbortSignal): Promise<Buffer> {
    const rows = store.snapshot();
    const own = answerOwn(rows, id, query);
    if (own !== undefined) return own;
    if (forwards >= mostForwards) {
      log.warn(
        { sandbox: id },
        `more than ${mostForwards} DNS queries are waiting for other servers: this one is refused`,
      );
      return writeAnswer(query, [], responseCode.serverFailure);
    }
    const configured = rows.get("sandboxes", id)?.dns.servers ?? [];
    const targets: readonly IpAddress[] = configured.length > 0 ? configured : upstream().servers;
    const namespace: NamespaceName = `sandbox:${id}`;
    forwards += 1;
    try {
      const found = await forward(kernel, namespace, targets, query, transport, signal);
      return found ?? writeAnswer(query, [], responseCode.serverFailure);
    } finally {
      forwards -= 1;
    }
  }

  const close = (id: SandboxId) => {
    const server = servers.get(id);
    servers.delete(id);
    server?.then((s) => s.close()).catch(() => {}); // it failed to open: the opener was told
  };
  return {
    async open(id) {
      const known = servers.get(id);
      if (known !== undefined) return void (await known);
      const opening = SandboxServer.open(kernel, `sandbox:${id}`, (query, transport, signal) =>
        answer(id, query, transport, signal),
      );
      servers.set(id, opening);
      try {
        await opening;
      } catch (error) {
        servers.delete(id);
        throw error;
      }
    },
    close,
    listening: () => [...servers.keys()],
    stop: () => [...servers.keys()].forEach(close),
  };
}

/** The answer when the question is about the sandbox's own networks; undefined when others must be asked. */
export function answerOwn(rows: Snapshot, id: SandboxId, query: Query): Buffer | undefined {
  const { name, type } = query.question;
  if (type === "PTR") {
    const address = reverseAddress(name);
    const found = address === undefined ? undefined : nameOf(rows, id, address);
    return found === undefined ? undefined : writeAnswer(query, [{ type, name, ttl: lifetime, data: found }]);
  }
  const addresses = addressesOf(rows, id, name);
  if (addresses === undefined) return undefined;
  const wanted = addresses.filter((a) => a.includes(":") === (type === "AAAA"));
  if (type !== "A" && type !== "AAAA") return writeAnswer(query, []);
  return writeAnswer(
    query,
    shuffled(wanted).map((data): DnsRecord => ({ type, name, ttl: lifetime, data })),
  );
}

/** Every server of one name gets its share of clients that take the first address. */
function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
