import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:https";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, it } from "node:test";
import { issueMember } from "../../src/cluster/etcd/etcd-certificate.ts";
import { type Beginning, type EtcdOptions, peerUrlOf } from "../../src/cluster/etcd/etcd-flags.ts";
import { EtcdProcess, type MemberCredentials } from "../../src/cluster/etcd/etcd-process.ts";
import { createRequest, newKey } from "../../src/cluster/identity/csr.ts";
import { managerName, newSwarmId } from "../../src/cluster/identity/names.ts";
import { createRoot } from "../../src/cluster/identity/root.ts";
import { patience, until } from "../support/until.ts";

const directory = mkdtempSync(join(tmpdir(), "tombolo-etcd-process-"));
const root = createRoot();
interface Member {
  etcd: EtcdProcess;
  readonly options: EtcdOptions;
  readonly own: MemberCredentials;
  again(): EtcdProcess;
}
const members: Member[] = [];
const log = { info: () => {}, warn: () => {} };
after(async () => {
  for (const { etcd } of members) await etcd.leave();
  rmSync(directory, { recursive: true });
});

function credentials(nodeId: string, address: string, of = root): MemberCredentials {
  const key = newKey();
  const certificate = issueMember(of, createRequest(key), { nodeId, address });
  return { certificate, key, root: of.certificate };
}

async function freePort(host: string): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A manager's etcd, on a loopback address of its own. */
async function member(address: string, beginning: (peerUrl: string) => Promise<Beginning>): Promise<Member> {
  const peerPort = await freePort(address);
  const options: EtcdOptions = {
    dataDirectory: join(directory, address, "data"),
    runDirectory: join(directory, address, "run"),
    nodeId: newSwarmId(),
    address,
    peerPort,
    clientPort: await freePort("127.0.0.1"),
    beginning: await beginning(peerUrlOf(address, peerPort)),
    limits: [],
  };
  const own = credentials(options.nodeId, address);
  const etcd = new EtcdProcess(options, own, log);
  const one: Member = { etcd, options, own, again: () => new EtcdProcess(options, own, log) };
  members.push(one);
  await etcd.start();
  await etcd.ready(AbortSignal.timeout(patience));
  return one;
}

/** A call of etcd's JSON gateway. */
async function call<R>({ options, own }: Member, path: string, body: object, as: Partial<MemberCredentials> = own) {
  const tls = { cert: as.certificate, key: as.key, ca: root.certificate, servername: managerName, agent: false };
  const asked = request(`https://127.0.0.1:${options.clientPort}/v3/${path}`, { ...tls, method: "POST" });
  asked.end(JSON.stringify(body));
  const [answer] = (await once(asked, "response")) as [NodeJS.ReadableStream];
  return JSON.parse(Buffer.concat(await Array.fromAsync(answer as AsyncIterable<Buffer>)).toString()) as R;
}
const value = Buffer.from("v").toString("base64");
const put = (one: Member) => call<{ header?: object }>(one, "kv/put", { key: value, value });
const get = (one: Member) => call<{ count?: string }>(one, "kv/range", { key: value });
const pidOf = ({ options }: Member) => Number(readFileSync(join(options.runDirectory, "etcd.pid"), "utf8"));
/** Resolves when there is another one in its place. */
const isAnother = (one: Member, pid: number) =>
  until(() => {
    try {
      return pidOf(one) !== pid;
    } catch {
      return false; // none at all
    }
  }, "another one");
const first = member("127.0.0.2", async () => ({ kind: "new", token: newSwarmId() }));

it("is for certificates of its own CA only, on both ports; no secret is on its command line", async () => {
  const one = await first;
  assert.ok((await put(one)).header);
  const foreign = credentials(one.options.nodeId, "127.0.0.1", createRoot());
  for (const as of [{}, foreign]) await assert.rejects(call(one, "kv/range", { key: value }, as));
  const peer = request(`https://127.0.0.2:${one.options.peerPort}/members`, { ca: root.certificate, agent: false });
  peer.end();
  await assert.rejects(once(peer, "response"));
  const line = readFileSync(`/proc/${pidOf(one)}/cmdline`, "utf8");
  for (const secret of [one.own.key, root.key]) assert.ok(!line.includes(secret.split("\n")[1] ?? "?"));
  assert.deepEqual(readdirSync(one.options.dataDirectory), ["member"]);
});

it("outlives the daemon, which finds it again, and is started again when it is killed", async () => {
  const one = await first;
  const pid = pidOf(one);
  await one.etcd.stop();
  const next = one.again();
  one.etcd = next;
  await next.start();
  await next.ready(AbortSignal.timeout(patience));
  assert.equal(pidOf(one), pid);
  process.kill(pid, "SIGKILL");
  await isAnother(one, pid);
  await next.ready(AbortSignal.timeout(patience));
  assert.equal((await get(one)).count, "1");
});

it("takes another certificate while it runs", async () => {
  const one = await first;
  const pid = pidOf(one);
  const renewed = credentials(one.options.nodeId, "127.0.0.2");
  await one.etcd.exchange(renewed);
  await one.etcd.ready(AbortSignal.timeout(patience));
  assert.deepEqual([pidOf(one), (await get(one)).count], [pid, "1"]);
});

it("says that a majority is missing, recovers alone, and leaves nothing", async () => {
  const one = await first;
  const joined = await member("127.0.0.3", async (peerUrl) => {
    const body = { peerURLs: [peerUrl], isLearner: true };
    const added = await call<{ members: { name?: string; peerURLs: string[] }[] }>(one, "cluster/member/add", body);
    return {
      kind: "join",
      members: added.members.map(({ name = "", peerURLs }) => ({ name, peerUrls: peerURLs })),
    };
  });
  const { members: list } = await call<{ members: { ID: string; name: string }[] }>(one, "cluster/member/list", {});
  const id = list.find(({ name }) => name === joined.options.nodeId)?.ID;
  const promote = () => call<{ error?: string }>(one, "cluster/member/promote", { ID: id });
  await until(async () => (await promote()).error === undefined, "it is promoted");
  assert.equal((await get(joined)).count, "1");
  const { dataDirectory, runDirectory } = joined.options;
  const gone = pidOf(joined);
  await joined.etcd.leave();
  assert.ok(!existsSync(dataDirectory) && !existsSync(runDirectory) && !existsSync(`/proc/${gone}`));
  const pid = pidOf(one);
  process.kill(pid, "SIGKILL");
  await isAnother(one, pid);
  await assert.rejects(one.etcd.ready(AbortSignal.timeout(3000)), {
    class: "unavailable",
    message: /too few managers/,
  });
  await one.etcd.stop();
  one.etcd = new EtcdProcess({ ...one.options, beginning: { kind: "force-new" } }, one.own, log);
  await one.etcd.start();
  await one.etcd.ready(AbortSignal.timeout(patience));
  assert.equal((await get(one)).count, "1");
});

it("says why it does not start", async () => {
  const { options, own } = await first;
  const places = { runDirectory: join(directory, "x"), dataDirectory: join(directory, "y") };
  const clientPort = await freePort("127.0.0.1");
  const etcd = new EtcdProcess({ ...options, ...places, clientPort, address: "192.0.2.250" }, own, log);
  await assert.rejects(etcd.start(), {
    class: "system",
    message: /^etcd does not start: it ended with status \d+; see/,
  });
});
