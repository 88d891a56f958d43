import { type ConnectRouter, createClient } from "@connectrpc/connect";
import { setTimeout as sleep } from "node:timers/promises";
import { notFound } from "../../lib/errors.ts";
import { failpoint } from "../../lib/failpoint.ts";
import { dismissed, type NodeId, observed } from "../../model/cluster.ts";
import { isAnswering } from "../../store/etcd/answers.ts";
import { createEtcdClient, type EtcdAddress, type EtcdClient } from "../../store/etcd/client.ts";
import { type EtcdStore, etcdLimits, openEtcdStore } from "../../store/etcd/etcd-store.ts";
import { rangeOf } from "../../store/etcd/layout.ts";
import type { Transaction } from "../../store/store.ts";
import { type Place, placeText } from "../addressing.ts";
import { attachmentService } from "./attachment-service.ts";
import { keepOnly } from "../attachments.ts";
import { type CallerFacts, callerOf, ControlServer, type Credentials } from "../calls/control-server.ts";
import { dial } from "../calls/dial.ts";
import type { Beginning } from "../etcd/etcd-flags.ts";
import { type EtcdDirectories, EtcdProcess, type Log, type MemberCredentials } from "../etcd/etcd-process.ts";
import { Join, Manager as ManagerCalls, Node } from "../gen/control_pb.ts";
import { externalEtcd, externalMembers, type ManagerEtcd } from "../etcd/external-etcd.ts";
import { managerName } from "../identity/names.ts";
import { renewalDefaults } from "../identity/renewal.ts";
import { joinService, renewCertificate } from "./join.ts";
import { beginKeys } from "../key-rotation.ts";
import { runLeader } from "./leader.ts";
import { LogBroker, type Wanted } from "./log-broker.ts";
import { type Members, membersOf, removeVote } from "../etcd/etcd-members.ts";
import { memberService } from "./member-service.ts";
import { Reports } from "./reports.ts";
import { hasLeft, Sessions } from "./sessions.ts";
import type { StoreKeys } from "../etcd/store-keys.ts";

/** What a manager is, besides its credentials. */
export interface ManagerIdentity {
  readonly nodeId: NodeId;
  readonly clusterId: string;
  readonly listen: Place;
  readonly advertise: Place;
}
export interface ManagerParts {
  /** etcd's data, on the disk; its certificate and key, in memory. */
  readonly directories: EtcdDirectories;
  /** The etcd that the user runs, in place of one of ours. */
  readonly externalEtcd?: EtcdAddress;
  readonly log: Log;
}

const patience = 1000; // milliseconds to end in
const every = { look: 1000, answer: 2000, poll: 50, restart: 10_000 } as const; // milliseconds

/** etcd's port for the other managers is the one behind the control port; the one for this daemon, on loopback, far from it. */
export const peerPortOf = ({ listen }: Pick<ManagerIdentity, "listen">) => listen.port + 1;
const clientPortOf = ({ listen }: Pick<ManagerIdentity, "listen">) =>
  listen.port + 1 + (listen.port < 55_000 ? 10_000 : -10_000);

/** The etcd of a manager, whether it runs or not. */
export function etcdOf(
  identity: ManagerIdentity,
  { directories, externalEtcd: external, log }: ManagerParts,
  credentials: MemberCredentials,
  beginning: Beginning,
): ManagerEtcd {
  if (external !== undefined) return externalEtcd(external);
  const { nodeId, advertise } = identity;
  const options = {
    ...directories,
    nodeId,
    address: advertise.address,
    peerPort: peerPortOf(identity),
    clientPort: clientPortOf(identity),
    beginning,
    limits: etcdLimits,
  };
  return new EtcdProcess(options, credentials, log);
}

/** The store over the etcd of this host, which answers. */
export interface Opened {
  readonly client: EtcdClient;
  readonly store: EtcdStore;
  readonly dataKey: Buffer;
  readonly members: Members;
  /** Deletes all rows: of a swarm that is no more. */
  readonly forget: () => Promise<unknown>;
}

/** @throws {StoreError} UNAVAILABLE, CORRUPT */
export async function openStore(
  identity: ManagerIdentity,
  { externalEtcd: external }: Pick<ManagerParts, "externalEtcd">,
  keys: StoreKeys,
): Promise<Opened> {
  const { root: ca, certificate: cert, key, dataKey } = keys;
  const tls = { ca, cert, key, serverName: managerName };
  const client = createEtcdClient(external ?? { endpoints: [`127.0.0.1:${clientPortOf(identity)}`], tls });
  const prefix = `/tombolo/${identity.clusterId}`;
  try {
    return {
      client,
      store: await openEtcdStore({ etcd: client, prefix, key: dataKey }),
      dataKey,
      members: external === undefined ? membersOf(client) : externalMembers,
      forget: () => client.kv.deleteRange(rangeOf(`${prefix}/`), { deadline: 2000 }),
    };
  } catch (error) {
    client.close();
    throw error;
  }
}

/** A manager's etcd, and the store over it. */
export interface Running {
  readonly etcd: ManagerEtcd;
  readonly opened: Opened;
}
/** etcd goes on. */
export async function closeRunning({ etcd, opened }: Running): Promise<void> {
  await opened.store.close();
  opened.client.close();
  await etcd.stop();
}

interface Shown {
  credentials: Credentials;
}

/** A manager at work: its port, the nodes' streams that it holds, and its candidacy. */
export class Manager {
  readonly store: EtcdStore;
  /** What tasks of all nodes have said. */
  readonly logs: LogBroker;
  readonly #etcd: ManagerEtcd;
  readonly #opened: Opened;
  readonly #server: ControlServer;
  /** What the others see now. */
  readonly #shown: Shown;
  readonly #stopped = new AbortController();
  /** False while too few managers answer. */
  hasMajority = true;
  #isRestarting = false;
  #running: readonly Promise<void>[] = [];

  private constructor(etcd: ManagerEtcd, opened: Opened, server: ControlServer, shown: Shown, logs: LogBroker) {
    this.logs = logs;
    this.#etcd = etcd;
    this.#opened = opened;
    this.store = opened.store;
    this.#server = server;
    this.#shown = shown;
  }

  /** Serves from the rows that the store has. @throws what listen(2) says, when the port is taken for one */
  static async open(
    identity: ManagerIdentity,
    { log }: Pick<ManagerParts, "log">,
    { etcd, opened }: Running,
    credentials: Credentials,
  ): Promise<Manager> {
    const { store, client, members } = opened;
    const now = Date.now;
    await store.update((tx) => beginKeys(tx, now()));
    const failed = (err: unknown, call = "") => log.warn({ err, call }, "a call of another host failed");
    const { after } = renewalDefaults;
    const reports = new Reports({ store, now, after, failed: seldom(5, failed) });
    const report = reports.take.bind(reports);
    const sessions = new Sessions({ store, self: identity.nodeId, now, after, failed, report });
    const shown = { credentials };
    const logs = new LogBroker({
      store,
      self: identity.nodeId,
      address: placeText(identity.advertise),
      tell: (node, wanted) => sessions.wantLogs(node, wanted),
      ask: (address, nodeId, wanted) => askForLogs(address, shown.credentials, { nodeId, wanted }),
      after,
    });
    const signing = { store, now, own: () => shown.credentials };
    const routes = (router: ConnectRouter) => {
      router.service(Join, joinService(signing));
      router.service(Node, {
        session: (up, context) => sessions.serve(callerOf(context), up, context.signal),
        renewCertificate: renewCertificate(signing),
        ...attachmentService(store),
        publishLogs: async (requests, context) => {
          await logs.publish(callerOf(context).identity?.nodeId ?? "", requests);
          return {};
        },
        leave: async (_, context) => {
          await sessions.leave(callerOf(context).identity?.nodeId ?? "");
          return {};
        },
      });
      router.service(ManagerCalls, {
        ...memberService({ store, members, dataKey: opened.dataKey, expectOthers: () => manager.#expectOthers() }),
        askForLogs: ({ nodeId, wanted }) => {
          if (wanted === undefined || !sessions.wantLogs(nodeId, wanted)) throw notFound(`node ${nodeId} is not here`);
          return {};
        },
      });
    };
    const standing = (id: NodeId) => store.snapshot().get("nodes", id)?.role;
    const denied = seldom(5, ({ call, identity: peer, address }: Denial) =>
      log.warn({ call, node: peer?.nodeId, role: peer?.role, address }, "a call was denied"),
    );
    const server = new ControlServer(credentials, identity.clusterId, {
      routes,
      standing,
      isCurrent: () => manager.hasMajority,
      failed,
      denied: (call, caller) => denied({ call, ...caller }),
    });
    await server.listen(identity.listen.address, identity.listen.port);
    const manager = new Manager(etcd, opened, server, shown, logs);
    const { signal } = manager.#stopped;
    const { nodeId: self, clusterId } = identity;
    const leader = { client, store, members, sessions, self, clusterId, now, after, log };
    manager.#running = [
      ignored(() => sessions.run(signal), signal, log),
      ignored(() => runLeader(leader, signal), signal, log),
      manager.#watchMajority(signal),
    ];
    return manager;
  }

  /** From now on others see this certificate, and are measured by these roots. */
  exchange(credentials: Credentials): void {
    this.#shown.credentials = credentials;
    this.#server.exchange(credentials);
  }

  /** Ends the connections of who is no node any more at once. */
  look(): void {
    this.#server.look();
  }

  /** Gives its vote up, and says in its row that it is down. @throws when there is no majority for it */
  async resign(nodeId: NodeId): Promise<void> {
    const row = this.store.snapshot().get("nodes", nodeId);
    if (row === undefined) return;
    const isOnly = this.store.snapshot().where("nodes", "role", "manager").length <= 1;
    if (isOnly) return void (await this.#opened.forget());
    await this.store.update((tx) => {
      const own = tx.get("nodes", nodeId);
      if (own === undefined) return;
      // The row says that it has a vote as long as it has: should this host not come to it, the leader takes it.
      const vote = own.manager === undefined ? {} : { manager: own.manager };
      tx.put("nodes", observed(dismissed(own, hasLeft), vote, Date.now()));
      keepOnly(tx, nodeId, new Set());
    });
    if (row.manager === undefined) return;
    failpoint("swarm.leave.before-vote");
    await removeVote(this.#opened.members, row.manager.memberId);
    await this.#etcd.farewell();
  }

  /** Serves no longer; etcd goes on, for the next daemon. */
  async stop(): Promise<void> {
    await this.#end();
    await this.#etcd.stop();
  }

  /** Ends etcd too, and removes its data. */
  async leave(): Promise<void> {
    await this.#etcd.stop(); // one whose vote was taken ends by itself: it is not to be started again
    await this.#end();
    await this.#etcd.leave();
  }

  /** An etcd that is started again, as the first one of several is, is no majority that is lost. */
  async #expectOthers(): Promise<void> {
    this.#isRestarting = true;
    try {
      await this.#etcd.expectOthers();
      for (const end = Date.now() + every.restart; Date.now() < end; await sleep(every.poll))
        if (await isAnswering(this.#opened.client, every.answer)) return;
    } finally {
      this.#isRestarting = false;
    }
  }

  /** etcd answers a read only with a majority behind it. */
  async #watchMajority(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const wasRestarting = this.#isRestarting;
      const answers = await isAnswering(this.#opened.client, every.answer);
      this.hasMajority = answers || signal.aborted || wasRestarting || this.#isRestarting;
      await sleep(every.look, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  async #end(): Promise<void> {
    this.#stopped.abort();
    await this.#server.close();
    // Who leads lets another one lead at once. Where there is no majority any more there is nobody to tell.
    const orderly = Promise.all(this.#running)
      .then(() => this.store.close())
      .finally(() => this.#opened.client.close());
    await Promise.race([orderly, sleep(patience)]);
  }
}

const asking = 5000; // milliseconds

/** Asks the manager that has a node's stream to tell it that logs are wanted. */
async function askForLogs(
  address: string,
  { key, certificate, roots }: Credentials,
  request: { readonly nodeId: NodeId; readonly wanted: Wanted },
): Promise<void> {
  const signal = AbortSignal.timeout(asking);
  const link = await dial(address, { key, cert: certificate, ca: roots }, signal);
  try {
    await createClient(ManagerCalls, link.transport).askForLogs(request, { signal });
  } finally {
    link.close();
  }
}

interface Denial extends CallerFacts {
  readonly call: string;
}

/** Calls `tell` so many times a second at most: strangers shall not fill the log. */
function seldom<T>(most: number, tell: (what: T) => void): (what: T) => void {
  let [second, told] = [0, 0];
  return (what) => {
    const now = Math.floor(Date.now() / 1000);
    told = now === second ? told + 1 : 1;
    second = now;
    if (told <= most) tell(what);
  };
}

/** What runs as long as the manager does: begun again when it breaks off. */
async function ignored(run: () => Promise<void>, signal: AbortSignal, log: Log): Promise<void> {
  while (!signal.aborted) {
    try {
      await run();
    } catch (err) {
      if (!signal.aborted) log.warn({ err }, "a duty of the manager broke off: it is begun again");
    }
    await sleep(signal.aborted ? 0 : 500, undefined, { ref: false });
  }
}

/** Writes where this manager is found, once its etcd has a vote. */
export function writeManager(
  tx: Transaction,
  { nodeId, advertise }: Pick<ManagerIdentity, "nodeId"> & { readonly advertise: string },
  memberId: string,
  now: number,
): void {
  const row = tx.get("nodes", nodeId);
  if (row === undefined || row.manager?.memberId === memberId) return;
  const manager = { address: advertise, reachability: "reachable", leader: false, memberId } as const;
  tx.put("nodes", observed(row, { manager }, now));
}
