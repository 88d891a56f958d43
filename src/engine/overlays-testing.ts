import type { ConnectRouter } from "@connectrpc/connect";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer, connect as dial, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { idOf, networkRows, putNetwork, sandboxRow } from "../../test/support/rows.ts";
import { attachmentService } from "../cluster/manager/attachment-service.ts";
import type { AttachWish } from "../cluster/attachments.ts";
import { callerOf, ControlServer } from "../cluster/calls/control-server.ts";
import { Node } from "../cluster/gen/control_pb.ts";
import { trustBundle } from "../cluster/identity/authority.ts";
import type { NodeFiles, NodeFolder } from "../cluster/identity/node-files.ts";
import { renewalDefaults } from "../cluster/identity/renewal.ts";
import { clusterId, newAuthority, node } from "../cluster/identity/testing.ts";
import { LocalNode, type NodeParts } from "../cluster/node/local-node.ts";
import { openNetwork } from "../cluster/networks.ts";
import { Replica } from "../cluster/node/replica.ts";
import { Sessions } from "../cluster/manager/sessions.ts";
import { description, newCluster, newNode } from "../cluster/testing.ts";
import { createDataplane } from "../dataplane/create-dataplane.ts";
import { defaultBalancer } from "../balancers/index.ts";
import { drivers } from "../drivers/index.ts";
import { createFakeKernel } from "../kernel/fake/fake-kernel.ts";
import { unavailable } from "../lib/errors.ts";
import { KeyedLock } from "../lib/keyed-lock.ts";
import type { NodeDescription } from "../model/cluster.ts";
import type { Attachment, Container } from "../model/container.ts";
import { plainSpec } from "../model/network.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Transaction } from "../store/store.ts";
import { connect, disconnect } from "./connections.ts";
import { EventBus } from "./events.ts";
import { wayOutNetwork } from "./attachments.ts";
import { Ingress, ingressContainer } from "./ingress.ts";
import { LanAddresses } from "./lan-addresses.ts";
import { Overlays } from "./overlays.ts";
import type { Parts } from "./parts.ts";

/** Told of each message between node and manager, before it is passed on and after; where it throws, it is lost. */
export type OnMessage = (message: string, when: "before" | "after") => void | Promise<void>;

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const authority = newAuthority();
const roots = trustBundle(authority);

/** A wire that can be cut: every connection over it breaks, and none comes about until it is healed. */
class Wire {
  readonly #server = createServer((socket) => this.#join(socket));
  readonly #sockets = new Set<Socket>();
  readonly #port: number;
  #isCut = false;
  constructor(port: number) {
    this.#port = port;
  }
  async open(): Promise<string> {
    await once(this.#server.listen(0, "127.0.0.1"), "listening");
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }
  heal(): void {
    this.#isCut = false;
  }
  close(): void {
    this.cut();
    this.#server.close();
  }
  #join(near: Socket): void {
    if (this.#isCut) return void near.destroy();
    const far = dial(this.#port, "127.0.0.1");
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one);
      one
        .on("error", () => {})
        .once("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      one.pipe(other);
    }
  }
}

/** A manager's services over rows in memory, behind TLS and a wire. The network `net` is there. */
export async function serveManager(onMessage: OnMessage) {
  const store = createMemoryStore();
  const self = node(authority, { role: "manager" });
  const [worker, other] = [node(authority), node(authority)];
  await store.update((tx) => {
    tx.insert("clusters", newCluster({ authority }));
    tx.insert("nodes", newNode({ id: worker.subject.nodeId }));
    const status = { state: "ready", message: "", address: "192.0.2.9", session: "s" } as const;
    const addresses = { advertise: "192.0.2.9", dataPath: "192.0.2.9" };
    tx.insert("nodes", newNode({ id: other.subject.nodeId, hostname: "other", status, addresses }));
    const subnets = [{ subnet: "10.20.0.0/28", auxiliary: {} }];
    const spec = { ...plainSpec, name: "net", driver: "overlay", attachable: true, internal: true };
    openNetwork(tx, {
      spec: { ...spec, ipam: { ...spec.ipam, subnets } },
      severalSubnets: false,
      others: [],
      lenientCidr: false,
      createdAt: "",
    });
  });
  const failed = () => {};
  const sessions = new Sessions({
    store,
    self: self.subject.nodeId,
    now: Date.now,
    after: renewalDefaults.after,
    failed,
  });
  const around = async <R>(message: string, body: () => Promise<R>) => {
    await onMessage(message, "before");
    const result = await body();
    await onMessage(message, "after");
    return result;
  };
  async function* each<M extends { readonly body?: { readonly case?: string | undefined } | undefined }>(
    from: string,
    messages: AsyncIterable<M>,
  ) {
    for await (const message of messages) {
      await onMessage(`${from}: ${message.body?.case}`, "before");
      yield message;
      await onMessage(`${from}: ${message.body?.case}`, "after");
    }
  }
  const service = attachmentService(store);
  const routes = (router: ConnectRouter) =>
    void router.service(Node, {
      session: (up, context) => each("manager", sessions.serve(callerOf(context), each("node", up), context.signal)),
      attach: (request, context) => around("attach", async () => service.attach(request, context)),
      detach: (request, context) => around("detach", async () => service.detach(request, context)),
    });
  const standing = (id: string) => store.snapshot().get("nodes", id)?.role;
  const credentials = { key: self.key, certificate: self.cert, roots };
  const server = new ControlServer(credentials, clusterId, { routes, standing, failed });
  const { port } = await server.listen("127.0.0.1", 0);
  const wire = new Wire(port);
  const address = await wire.open();
  const stopped = new AbortController();
  const running = sessions.run(stopped.signal);
  const stop = async () => {
    stopped.abort();
    wire.close();
    await Promise.all([server.close(), running]);
  };
  return { store, worker, other: other.subject.nodeId, address, wire, signal: stopped.signal, stop };
}
export type Worker = Awaited<ReturnType<typeof startWorker>>;
export type Manager = Awaited<ReturnType<typeof serveManager>>;

const wish: Omit<Attachment, "network"> = {
  linkLocal: [],
  aliases: [],
  links: [],
  driverOptions: {},
  gatewayPriority: 0,
};

const filesOf = ({ subject, cert, key }: Manager["worker"], manager: string): NodeFiles => ({
  state: {
    ...{ nodeId: subject.nodeId, clusterId, role: "worker", managers: [manager] },
    ...{ listenAddress: "127.0.0.1:2377", advertiseAddress: "127.0.0.1:2377", dataPathAddress: "127.0.0.1" },
  },
  ...{ certificate: cert, key, roots },
});

function putWayOut(tx: Transaction): void {
  const { network, pools } = networkRows({ number: 18 });
  const spec = { ...network.spec, name: wayOutNetwork };
  if (tx.get("names", `network|${wayOutNetwork}`) !== undefined) return;
  putNetwork(tx, { network: { ...network, spec }, pools });
  for (const { id: pool, gateway: address } of pools)
    tx.put("claims", { pool, address, kind: "gateway", owner: network.id });
  tx.put("names", { kind: "network", name: wayOutNetwork, id: network.id });
}

/** A running container, `c1` of number 1. */
function putContainer(tx: Transaction, number: number): void {
  const id = idOf("5", number);
  const spec = { networkMode: "bridge", hostname: "", domainname: "", extraHosts: [], ports: [], exposed: [] };
  const state = { status: "running" };
  tx.put("containers", { id, name: `c${number}`, spec, state, attachments: [] } as unknown as Container);
  tx.put("names", { kind: "container", name: `c${number}`, id });
  tx.put("sandboxes", { ...sandboxRow(number), id, containerId: id });
}

/** A worker's engine over a kernel in memory, with running containers `c1`, `c2`, …: all that connects them to the cluster is real. */
export async function startWorker({ worker, address }: Manager, containers: number) {
  const store = createMemoryStore();
  const warnings: string[] = [];
  const log = { ...quiet, warn: (_: object, text: string) => void warnings.push(text) };
  const dataRoot = mkdtempSync(join(tmpdir(), "tombolo-overlays-"));
  const kernel = createFakeKernel();
  const registry = new Map(Object.entries(drivers));
  const driverFor = (name: string) => registry.get(name);
  const dataplane = createDataplane({ store, kernel, balancer: defaultBalancer, driverFor, log: quiet });
  const replica = new Replica({ store, tunnelMtu: () => 1450, onCluster() {} });
  let files = filesOf(worker, address);
  let routes: NodeDescription["routes"] = [];
  const folder = { update: async (change: (old: NodeFiles) => NodeFiles) => (files = change(files)) };
  const local = new LocalNode(
    {
      folder: folder as unknown as NodeFolder,
      describe: (addresses: NodeDescription["addresses"]) => ({ ...description, addresses, routes }),
      replica,
      hostRoutes: () => [],
      changed() {},
      log: quiet,
    } as unknown as NodeParts,
    files,
  );
  const membership = {
    isInSwarm: true,
    attach: (asked: AttachWish) => local.attachments.attach(asked),
    detach: (ids: readonly string[]) => local.attachments.detach(ids),
    control(): never {
      throw unavailable("a worker");
    },
  };
  const given = {
    ...{ store, dataplane, replica, membership, drivers: registry, bus: new EventBus(), locks: new KeyedLock() },
    ...{ log, lan: {}, resolver: { open() {}, close() {} }, runtime: { processes: { logPath: () => "" } } },
    ...{ host: { dns: () => ({ servers: [], search: [], options: [] }) }, settings: { dataRoot, dns: {} } },
  } as unknown as Omit<Parts, "addresses" | "overlays">;
  const overlays = new Overlays(given, {
    ensureWayOut: async () => {},
    disconnect: (network, container) =>
      container === ingressContainer ? ingress.drop() : disconnect(parts, network.id, container, true),
  });
  const parts: Parts = { ...given, addresses: new LanAddresses(given), overlays };
  const ingress = new Ingress(parts, async () => void (await store.update(putWayOut)));
  await store.update((tx) => {
    for (let number = 1; number <= containers; number += 1) putContainer(tx, number);
  });
  await dataplane.start();
  overlays.start();
  local.start();
  return {
    store,
    /** What its engine has warned of. */
    warnings,
    /** From now on it has an ingress sandbox while the swarm has such a network. */
    startIngress: () => ingress.start(),
    /** As when it leaves the swarm. */
    leave() {
      membership.isInSwarm = false;
      return overlays.leave();
    },
    connect: (name: string) => connect(parts, "net", name, wish),
    disconnect: (name: string) => disconnect(parts, "net", name, false),
    audit: () => dataplane.audit(),
    /** True when the kernel has all that has rows. */
    settled: () =>
      store
        .snapshot()
        .list("endpoints")
        .every(({ id }) => kernel.print().includes(`endpoint:${id}`)),
    /** A route comes to the host, which says so. */
    route(to: string) {
      routes = [{ to, link: "eth0" }];
      local.describe();
    },
    async stop() {
      ingress.stop();
      overlays.stop();
      await local.stop();
      await dataplane.stop();
      rmSync(dataRoot, { recursive: true });
    },
  };
}
