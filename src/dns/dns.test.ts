import assert from "node:assert/strict";
import { describe, it } from "node:test";
import packet, { type DecodedPacket, type OptAnswer, type RecordType } from "dns-packet";
import type { Container } from "../model/container.ts";
import type { DnsConfig } from "../model/sandbox.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Snapshot, Transaction } from "../store/store.ts";
import {
  answerForwarded,
  answerName,
  answerReverse,
  answerShort,
  type Asked,
  bounded,
  type Handler,
} from "./answer.ts";
import { Directories } from "./directories.ts";
import type { Exchange } from "./exchange.ts";
import { targetsOf } from "./forward.ts";
import { endpoint, keysIn, network, peer } from "./testing.ts";
import {
  answersTo,
  codeOf,
  fit,
  frame,
  frameReader,
  isTruncated,
  type Query,
  readQuery,
  responseCode,
  writeAnswer,
} from "./wire.ts";

const sandbox = (id: string, dns: Partial<DnsConfig> = {}) => ({
  id,
  containerId: id,
  resolver: true,
  dns: { servers: [], search: [], options: [], ...dns },
  sysctls: {},
});
const container = (id: string, dns: string[], links: string[]) =>
  ({ id, name: id, spec: { dns }, attachments: [{ network: "net", links }] }) as unknown as Container;

async function rowsOf(write: (tx: Transaction) => void): Promise<Snapshot> {
  const store = createMemoryStore();
  await store.update(write);
  return store.snapshot();
}
function ask(name: string, type: string, more: Partial<Parameters<typeof packet.encode>[0]> = {}): Query {
  const questions = [{ name, type: type as RecordType }];
  const query = readQuery(packet.encode({ type: "query", id: 7, flags: 256, questions, ...more }));
  assert.ok(query !== undefined && "question" in query);
  return query;
}
const { signal } = new AbortController();
/** An answer as the client reads it; the types of dns-packet lack its code. */
type Seen = DecodedPacket & { readonly code: number };
async function run(handler: Handler, rows: Snapshot, query: Query, id = "me"): Promise<Seen | undefined> {
  const directories = new Directories();
  directories.follow({ snapshot: rows, changed: keysIn(rows) });
  const asked: Asked = { rows, directories, sandbox: id, query, transport: "udp", signal };
  const answer = await handler(asked);
  return answer && { ...packet.decode(answer), code: codeOf(answer) };
}
const dataOf = (answer: DecodedPacket | undefined) =>
  answer?.answers?.map((a) => ("data" in a ? a.data : "")).toSorted();

describe("names", async () => {
  const rows = await rowsOf((tx) => {
    for (const name of ["net", "other"]) tx.insert("networks", network(name));
    tx.insert("networks", network("bridge", {}, true));
    tx.insert("sandboxes", sandbox("me"));
    tx.insert("containers", container("me", [], ["web:shop"]));
    tx.insert("endpoints", endpoint("net", "me", ["10.0.0.2"]));
    tx.insert("endpoints", endpoint("bridge", "me", ["172.17.0.2"]));
    tx.insert("endpoints", endpoint("net", "web", ["10.0.0.3", "fd00::3"], { names: ["Web", "pool", "0123456789ab"] }));
    tx.insert("endpoints", endpoint("net", "web2", ["10.0.0.4"], { names: ["web2", "pool", "dotted.name"] }));
    tx.insert("endpoints", endpoint("other", "secret", ["10.1.0.3"]));
    tx.insert("endpoints", endpoint("bridge", "old", ["172.17.0.3"]));
  });
  const answered: [name: string, type: string, data: string[]][] = [
    ["web", "A", ["10.0.0.3"]],
    ["WEB", "A", ["10.0.0.3"]],
    ["web", "AAAA", ["fd00::3"]],
    ["web.net", "A", ["10.0.0.3"]],
    ["Web.NET", "AAAA", ["fd00::3"]],
    ["0123456789ab", "A", ["10.0.0.3"]],
    ["dotted.name", "A", ["10.0.0.4"]],
    ["dotted.name.net", "A", ["10.0.0.4"]],
    ["me", "A", ["10.0.0.2"]],
    ["shop", "A", ["10.0.0.3"]],
    ["pool", "A", ["10.0.0.3", "10.0.0.4"]],
    // Known, but without such an address: no error, else a client would take it for unknown.
    ["web2", "AAAA", []],
    ["web", "MX", []],
    ["web", "TXT", []],
  ];
  for (const [name, type, data] of answered)
    it(`${name} ${type}`, async () => {
      const answer = await run(answerName, rows, ask(name, type));
      assert.deepEqual(dataOf(answer), data);
      assert.equal(answer?.code, responseCode.noError);
      assert.ok(answer?.answers?.every((a) => "ttl" in a && a.ttl === 600 && a.name === name));
    });
  for (const name of ["secret", "old", "web.other", "example.com", "net", "."])
    it(`${name} is not ours to answer`, async () =>
      assert.equal(await run(answerName, rows, ask(name, "A")), undefined));

  it("several addresses take turns in front", async () => {
    const first = new Set<string>();
    for (let n = 0; n < 100; n++) {
      const [record] = (await run(answerName, rows, ask("pool", "A")))?.answers ?? [];
      first.add(record?.type === "A" ? record.data : "");
    }
    assert.deepEqual([...first].toSorted(), ["10.0.0.3", "10.0.0.4"]);
  });

  it("the network with the highest gateway priority is searched first", async () => {
    const two = await rowsOf((tx) => {
      for (const [id, gatewayPriority] of [
        ["a", 0],
        ["b", 5],
      ] as const) {
        tx.insert("networks", network(id));
        tx.insert("endpoints", endpoint(id, "me", [], { gatewayPriority }));
        tx.insert("endpoints", endpoint(id, `web-${id}`, [id === "a" ? "10.0.0.3" : "10.1.0.3"], { names: ["web"] }));
      }
    });
    assert.deepEqual(dataOf(await run(answerName, two, ask("web", "A"))), ["10.1.0.3"]);
    assert.deepEqual(dataOf(await run(answerName, two, ask("web.a", "A"))), ["10.0.0.3"]);
  });

  it("containers of other hosts have names and addresses as this host's", async () => {
    const wide = await rowsOf((tx) => {
      for (const id of ["net", "other"]) tx.insert("networks", network(id));
      tx.insert("endpoints", endpoint("net", "me", ["10.0.0.2"], { names: ["me", "pool"] }));
      // The cluster's row of an endpoint that is here.
      tx.insert("peers", peer("net", "me", ["10.0.0.2"], { names: ["me", "pool"] }));
      tx.insert("peers", peer("net", "far", ["10.0.0.9", "fd00::9"], { names: ["Far", "pool"] }));
      tx.insert("peers", peer("other", "hidden", ["10.1.0.9"]));
    });
    const of = async (name: string, type: string) => dataOf(await run(answerName, wide, ask(name, type)));
    assert.deepEqual(await of("FAR.net", "A"), ["10.0.0.9"]);
    assert.deepEqual(await of("far", "AAAA"), ["fd00::9"]);
    assert.deepEqual(await of("pool", "A"), ["10.0.0.2", "10.0.0.9"]);
    assert.equal(await of("hidden", "A"), undefined);
    const reverse = async (name: string) => dataOf(await run(answerReverse, wide, ask(name, "PTR")));
    assert.deepEqual(await reverse("9.0.0.10.in-addr.arpa"), ["far.net"]);
    assert.equal(await reverse("9.0.1.10.in-addr.arpa"), undefined);
  });

  it("an address has its container's name", async () => {
    const reverse = async (name: string) => dataOf(await run(answerReverse, rows, ask(name, "PTR")));
    assert.deepEqual(await reverse("3.0.0.10.in-addr.arpa"), ["web.net"]);
    const six = `3.${"0.".repeat(27)}0.0.d.f.ip6.arpa`;
    assert.deepEqual(await reverse(six), ["web.net"]);
    const foreign = [
      "3.0.1.10.in-addr.arpa",
      "8.8.8.8.in-addr.arpa",
      "999.0.0.10.in-addr.arpa",
      "10.in-addr.arpa",
      "web",
    ];
    for (const name of foreign) assert.equal(await reverse(name), undefined, name);
  });
});

describe("servers of a sandbox", () => {
  const cases: [string, { own?: string[]; servers?: string[]; internal?: boolean }, string[]][] = [
    ["its own, from inside", { servers: ["10.9.9.9"] }, ["10.9.9.9 sandbox:me"]],
    [
      "three at most",
      { servers: ["1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4"] },
      ["1.0.0.1 sandbox:me", "1.0.0.2 sandbox:me", "1.0.0.3 sandbox:me"],
    ],
    ["else the host's; its loopback from the host", {}, ["127.0.0.53 host", "9.9.9.9 sandbox:me"]],
    ["never through the host when internal", { internal: true }, ["9.9.9.9 sandbox:me"]],
    [
      "a loopback that the user named, inside",
      { own: ["127.0.0.1"], servers: ["127.0.0.1"] },
      ["127.0.0.1 sandbox:me"],
    ],
    ["never itself", { own: ["127.0.0.11"], servers: ["127.0.0.11", "::1"] }, ["::1 host"]],
    ["never itself, however written", { own: ["::ffff:127.0.0.11"], servers: ["::ffff:127.0.0.11"] }, []],
    [
      "in canonical text, without what is no address",
      { servers: ["FD00::0001", "fe80::1%eth0", "dns"] },
      ["fd00::1 sandbox:me"],
    ],
  ];
  for (const [title, { own = [], servers = [], internal = false }, expected] of cases)
    it(title, async () => {
      const rows = await rowsOf((tx) => {
        tx.insert("networks", network("net", { internal }));
        tx.insert("endpoints", endpoint("net", "me", ["10.0.0.2"]));
        tx.insert("sandboxes", sandbox("me", { servers }));
        tx.insert("containers", container("me", own, []));
      });
      const host = { servers: ["127.0.0.53", "9.9.9.9"], search: [], options: [] };
      assert.deepEqual(
        targetsOf(rows, "me", () => host).map((t) => `${t.server} ${t.namespace}`),
        expected,
      );
    });
});

describe("forwarding", async () => {
  const rows = await rowsOf((tx) => {
    tx.insert("networks", network("net"));
    tx.insert("endpoints", endpoint("net", "me", ["10.0.0.2"]));
    tx.insert("sandboxes", sandbox("me", { servers: ["10.0.0.53", "10.0.0.54", "10.0.0.55"] }));
    tx.insert("sandboxes", sandbox("search", { options: ["ndots:2"] }));
  });
  const host = () => ({ servers: [], search: [], options: [] });
  type Reply = "silence" | "ok" | "cut" | 2 | 3 | 5;
  /** Servers that answer as told, and a note of who was asked. */
  function servers(replies: Record<string, Reply>) {
    const asked: string[] = [];
    const exchange: Exchange = async ({ server }, bytes, transport) => {
      asked.push(`${server} ${transport}`);
      const reply = replies[`${server} ${transport}`] ?? "silence";
      const query = readQuery(bytes) as Query;
      if (reply === "silence") return undefined;
      if (typeof reply === "number") return writeAnswer(query, [], reply);
      const answer = writeAnswer(query, [{ type: "A", name: query.question.name, ttl: 1, data: "1.2.3.4" }]);
      if (reply === "cut") answer[2] = (answer[2] ?? 0) | 2;
      return answer;
    };
    return { asked, handler: answerForwarded(exchange, host) };
  }
  const cases: [string, Record<string, Reply>, number, string[]][] = [
    ["the first answer counts", { "10.0.0.53 udp": "ok" }, responseCode.noError, ["10.0.0.53 udp"]],
    ["an unknown name is an answer", { "10.0.0.53 udp": 3 }, responseCode.noSuchName, ["10.0.0.53 udp"]],
    [
      "silence and failures pass on",
      { "10.0.0.54 udp": 5, "10.0.0.55 udp": "ok" },
      responseCode.noError,
      ["10.0.0.53 udp", "10.0.0.54 udp", "10.0.0.55 udp"],
    ],
    [
      "the last failure is told",
      { "10.0.0.53 udp": 2, "10.0.0.54 udp": 5 },
      responseCode.refused,
      ["10.0.0.53 udp", "10.0.0.54 udp", "10.0.0.55 udp"],
    ],
    ["nobody answers", {}, responseCode.serverFailure, ["10.0.0.53 udp", "10.0.0.54 udp", "10.0.0.55 udp"]],
    [
      "what is cut short is fetched over TCP",
      { "10.0.0.53 udp": "cut", "10.0.0.53 tcp": "ok" },
      responseCode.noError,
      ["10.0.0.53 udp", "10.0.0.53 tcp"],
    ],
  ];
  for (const [title, replies, code, expected] of cases)
    it(title, async () => {
      const { asked, handler } = servers(replies);
      const answer = await run(handler, rows, ask("example.com", "A"));
      assert.deepEqual([answer?.code, answer?.flag_tc, asked], [code, false, expected]);
    });

  it("what is cut short stays so when TCP does not work", async () => {
    const { handler } = servers({ "10.0.0.53 udp": "cut" });
    assert.equal((await run(handler, rows, ask("example.com", "A")))?.flag_tc, true);
  });

  it("a name without a dot is forwarded, but not with an ndots of one's own", async () => {
    assert.equal(await run(answerShort, rows, ask("intranet", "A")), undefined);
    assert.equal((await run(answerShort, rows, ask("intranet", "A"), "search"))?.code, responseCode.noSuchName);
    assert.equal(await run(answerShort, rows, ask("intranet.lan", "A"), "search"), undefined);
    assert.equal(await run(answerShort, rows, ask("com", "NS"), "search"), undefined);
  });

  it("too many at a time are refused, of one sandbox and of all", async () => {
    const gate = Promise.withResolvers<undefined>();
    const refused: string[] = [];
    const waiting: Handler = async ({ query }) => (await gate.promise) ?? writeAnswer(query, []);
    const handler = bounded(waiting, (id) => refused.push(id), { sandbox: 2, all: 3 });
    const results = ["a", "a", "a", "a", "b", "b"].map((id) => run(handler, rows, ask("x.y", "A"), id));
    gate.resolve(undefined);
    const codes = (await Promise.all(results)).map((r) => r?.code);
    assert.deepEqual(codes, [
      responseCode.noError,
      responseCode.noError,
      responseCode.refused,
      responseCode.refused,
      responseCode.noError,
      responseCode.refused,
    ]);
    assert.deepEqual(refused, ["a", "b"]);
    assert.equal((await run(handler, rows, ask("x.y", "A"), "a"))?.code, responseCode.noError);
  });
});

const noFlags = { flags: 0, flag_do: false, options: [] };

describe("packets", () => {
  const web = { name: "web.net", type: "A" } as const;
  const good = packet.encode({ type: "query", id: 7, flags: 256, questions: [web] });

  const records = (count: number, name: string) =>
    Array.from({ length: count }, () => ({ type: "A" as const, name, ttl: 1, data: "10.0.0.1" }));

  it("that are mutated never throw, and get an answer with their id or none", () => {
    let seed = 1;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed % below;
    };
    for (let n = 0; n < 20_000; n++) {
      const bytes = Buffer.from(good.subarray(0, random(4) === 0 ? random(good.length) : good.length));
      for (let k = random(4); k >= 0 && bytes.length > 0; k--) bytes[random(bytes.length)] = random(256);
      const read = readQuery(bytes);
      if (read === undefined) continue;
      const answer = "answer" in read ? read.answer : writeAnswer(read, []);
      assert.equal(answer.readUInt16BE(0), bytes.readUInt16BE(0));
    }
  });

  it("that are no questions get an error or nothing", () => {
    const code = (bytes: Buffer) => {
      const read = readQuery(bytes);
      return read !== undefined && "answer" in read ? codeOf(read.answer) : read;
    };
    assert.equal(code(Buffer.alloc(5)), undefined);
    assert.equal(code(packet.encode({ type: "response", id: 1, questions: [] })), undefined, "no answers to answers");
    assert.equal(code(packet.encode({ type: "query", id: 1, questions: [] })), 1);
    assert.equal(code(packet.encode({ type: "query", id: 1, flags: 4 << 11, questions: [] })), 4, "a notify");
    assert.equal(code(good.subarray(0, good.length - 2)), 1);
    assert.equal(code(packet.encode({ type: "query", id: 1, questions: [web, web] })), 1);
    assert.equal(code(Buffer.concat([good, Buffer.alloc(4096)])), 1, "too long");
    for (const section of ["answers", "authorities", "additionals"] as const)
      assert.equal(
        code(packet.encode({ type: "query", id: 1, questions: [web], [section]: records(3, "a") })),
        1,
        section,
      );
  });

  it("are answered with their question byte for byte", () => {
    const odd = Buffer.concat([good.subarray(0, 12), Buffer.from([4, 0x77, 0xe9, 0x2e, 0x62, 0, 0, 65, 0, 77])]);
    const query = readQuery(odd);
    assert.ok(query !== undefined && "question" in query);
    const answer = writeAnswer(query, [], responseCode.serverFailure);
    assert.deepEqual([answer.subarray(12), codeOf(answer)], [odd.subarray(12), responseCode.serverFailure]);
    assert.ok(packet.decode(writeAnswer(query, records(2, "b"))).answers?.every((a) => a.name === "b"));
  });

  it("too long for the client have the records that fit, and say so over UDP", () => {
    const plain = ask("pool", "A");
    const whole = writeAnswer(plain, records(100, "pool"));
    const cut = fit(plain, whole, "udp");
    assert.ok(isTruncated(cut) && cut.length <= 512 && cut.length > 490, `${cut.length} bytes`);
    assert.deepEqual(packet.decode(cut).answers, packet.decode(whole).answers?.slice(0, 24));
    assert.equal(fit(plain, whole, "tcp"), whole);
    const opt: OptAnswer = {
      type: "OPT",
      name: ".",
      udpPayloadSize: 1232,
      extendedRcode: 0,
      ednsVersion: 0,
      ...noFlags,
    };
    const edns = ask("pool", "A", { additionals: [opt] });
    const more = fit(edns, writeAnswer(edns, records(100, "pool")), "udp");
    assert.ok(isTruncated(more) && more.length <= 1232 && more.length > 1210, `${more.length} bytes`);
    assert.equal(packet.decode(more).additionals?.[0]?.type, "OPT");
    const all = packet.decode(fit(edns, writeAnswer(edns, records(50, "pool")), "udp"));
    assert.deepEqual([all.answers?.length, all.additionals?.[0]?.type, all.flag_tc], [50, "OPT", false]);
    const tcp = fit(plain, writeAnswer(plain, records(4000, "pool")), "tcp");
    assert.ok(!isTruncated(tcp) && tcp.length <= 0xffff && tcp.length > 0xffff - 20, `${tcp.length} bytes`);
    assert.doesNotThrow(() => packet.decode(tcp));
  });

  it("of others, compressed or broken, are cut between records with their code kept", () => {
    const query = ask("web.net", "A");
    const head = writeAnswer(query, [], responseCode.noSuchName);
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 1]);
    const of = (count: number, bytes: Buffer) => {
      const answer = Buffer.concat([head, ...Array.from({ length: count }, () => bytes)]);
      answer.writeUInt16BE(count, 6);
      return answer;
    };
    const cut = fit(query, of(60, record), "udp");
    const { answers = [] } = packet.decode(cut);
    assert.deepEqual([answers.length, answers[0]?.name, codeOf(cut)], [30, "web.net", responseCode.noSuchName]);
    for (const broken of [of(600, Buffer.from([5])), of(600, Buffer.from([0xff])), of(300, Buffer.alloc(2, 0x3f))])
      assert.deepEqual(packet.decode(fit(query, broken, "udp")).answers, []);
    const noQuestion = of(60, record);
    noQuestion.writeUInt16BE(0, 4);
    assert.equal(codeOf(fit(query, noQuestion, "udp")), responseCode.serverFailure);
  });

  it("answer a question only with its id and its words", () => {
    const of = (name: string, id = 7, type: "query" | "response" = "response") =>
      packet.encode({ type, id, questions: [{ name, type: "A" }], answers: [{ type: "A", name, data: "1.1.1.1" }] });
    assert.ok(answersTo(good, of("web.net")));
    assert.ok(answersTo(good, of("WEB.net")));
    assert.ok(answersTo(good, packet.encode({ type: "response", id: 7, flags: 5 })), "a bare refusal");
    const forged = [
      of("evil.net"),
      of("web.net", 8),
      of("web.net", 7, "query"),
      packet.encode({ type: "response", id: 7, questions: [{ name: "web.net", type: "AAAA" }] }),
      packet.encode({ type: "response", id: 7 }),
      Buffer.alloc(3),
    ];
    for (const [n, bytes] of forged.entries()) assert.equal(answersTo(good, bytes), false, `${n}`);
  });

  it("come whole out of a stream, however it is cut", () => {
    const stream = Buffer.concat([frame(good), frame(Buffer.alloc(0)), frame(Buffer.from("x"))]);
    const seen: Buffer[] = [];
    const read = frameReader((m) => seen.push(m));
    for (const byte of stream) read(Buffer.from([byte]));
    assert.deepEqual(seen, [good, Buffer.alloc(0), Buffer.from("x")]);
  });
});
