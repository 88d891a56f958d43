import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { after, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import packet from "dns-packet";
import type { Kernel } from "../kernel/kernel.ts";
import { openSocket } from "../kernel/sockets.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { createExchange, type Transport } from "./exchange.ts";
import { createResolver } from "./resolver.ts";
import { type Answer, openServer } from "./server.ts";
import { frame, frameReader, framesOf, type Query, readQuery, writeAnswer } from "./wire.ts";
import { calmTime, until } from "../../test/support/until.ts";

const socket: Kernel["socket"] = (_namespace, options) => openSocket(options);
const question = (name: string, id = 7) => packet.encode({ type: "query", id, questions: [{ name, type: "A" }] });
const answerTo = (bytes: Buffer) => writeAnswer(readQuery(bytes) as Query, []);
const nameOf = (answer: Buffer | undefined) => answer && packet.decode(answer).questions?.[0]?.name;

/** Of sockets and the like: the files that are open are the test runner's, which writes when it likes. */
const descriptors = () => readdirSync("/proc/self/fd").filter((fd) => !isFile(`/proc/self/fd/${fd}`)).length;
function isFile(path: string): boolean {
  try {
    return readlinkSync(path).startsWith("/");
  } catch {
    return true; // the folder itself, which is closed by now
  }
}
/** Runs `body`; afterwards there must be as many descriptors as before. */
async function leavesNothing(body: () => Promise<void>): Promise<void> {
  const before = descriptors();
  await body();
  await until(
    () => descriptors() <= before,
    () => `${before} descriptors, and not ${descriptors()}`,
  );
}

describe("a server", () => {
  async function open(answer: Answer, nft: (text: string) => void = () => {}) {
    const ports = { udp: 0, tcp: 0 };
    const kernel = {
      socket,
      nft(_namespace: string, text: string) {
        const of = (protocol: Transport) =>
          Number(new RegExp(`${protocol} dport 53 .*dport set (\\d+)`).exec(text)?.[1]);
        Object.assign(ports, { udp: of("udp"), tcp: of("tcp") });
        nft(text);
      },
    };
    const server = await openServer(kernel, "host", answer);
    return { ports, close: () => server.close() };
  }
  const call = (port: number) => connect(port, "127.0.0.11");
  const plain: Answer = async (query) => writeAnswer(query, []);

  it("answers over UDP, and goes on after what is no question", () =>
    leavesNothing(async () => {
      const { ports, close } = await open(plain);
      const client = createSocket("udp4");
      for (const bytes of [Buffer.from("rubbish"), question("web")]) client.send(bytes, ports.udp, "127.0.0.11");
      const [answer] = (await once(client, "message")) as [Buffer];
      assert.equal(nameOf(answer), "web");
      client.close();
      close();
    }));

  it("answers many questions of one TCP client in turn, also when it has said that they are all", () =>
    leavesNothing(async () => {
      const { ports, close } = await open(async (query, transport) => {
        assert.equal(transport, "tcp");
        await sleep(query.question.name === "slow" ? 20 : 0);
        return writeAnswer(query, []);
      });
      const client = call(ports.tcp);
      client.end(Buffer.concat(["slow", "web", "db"].map((name) => frame(question(name)))));
      assert.deepEqual((await Array.fromAsync(framesOf(client))).map(nameOf), ["slow", "web", "db"]);
      close();
    }));

  it("hangs up on a TCP client that asks nothing", () =>
    leavesNothing(async () => {
      const { ports, close } = await open(plain);
      for (const bytes of [Buffer.alloc(60_000), frame(Buffer.from("rubbish")), frame(answerTo(question("web")))]) {
        const client = call(ports.tcp).on("error", () => {}); // a reset is a way to hang up
        client.write(bytes);
        await once(client.resume(), "close");
      }
      close();
    }));

  it("lets a TCP client wait that sends without end and reads nothing", () =>
    leavesNothing(async () => {
      let answered = 0;
      const { ports, close } = await open(async (query) => {
        answered += 1;
        return writeAnswer(query, Array(1000).fill({ type: "A", name: "a.long.name.of.a.service", data: "10.0.0.1" }));
      });
      const client = call(ports.tcp).on("error", () => {});
      const many = Buffer.concat(Array.from({ length: 20_000 }, () => frame(question("web"))));
      client.write(many);
      let before = -1;
      for (; before !== answered; await sleep(100)) before = answered;
      assert.ok(answered > 0 && answered < 1000, `${answered} answers of 40 kB are in memory`);
      client.destroy();
      close();
    }));

  it("tells those who answer when it closes, and lets its clients go", () =>
    leavesNothing(async () => {
      const asked = Promise.withResolvers<AbortSignal>();
      const { ports, close } = await open(async (query, _transport, signal) => {
        asked.resolve(signal);
        await once(signal, "abort");
        return writeAnswer(query, []);
      });
      const client = call(ports.tcp).on("error", () => {});
      client.write(frame(question("web")));
      const signal = await asked.promise;
      close();
      assert.ok(signal.aborted);
      await once(client.resume(), "close");
    }));

  it("lasts when an answer fails", () =>
    leavesNothing(async () => {
      const { ports, close } = await open(async () => Promise.reject(new Error("told to fail")));
      const client = call(ports.tcp);
      client.end(frame(question("web")));
      assert.deepEqual(
        (await Array.fromAsync(framesOf(client))).map((answer) => (answer[3] ?? 0) & 15),
        [2],
      );
      close();
    }));

  it("leaves nothing when the namespace refuses the rules", () =>
    leavesNothing(async () => {
      const refuse = () => {
        throw new Error("no nftables here");
      };
      await assert.rejects(open(plain, refuse), /no nftables here/);
    }));
});

describe("a resolver", () => {
  const create = (nft: () => void) => {
    const upstream = () => ({ servers: [], search: [], options: [] });
    return createResolver({ store: createMemoryStore(), kernel: { socket, nft }, log: { warn() {} }, upstream });
  };

  it("opens once a sandbox, and closes what is still opening", () =>
    leavesNothing(async () => {
      let opened = 0;
      const resolver = create(() => (opened += 1));
      await Promise.all([resolver.open("a"), resolver.open("a")]);
      const late = resolver.open("b");
      assert.deepEqual([opened, resolver.listening()], [1, ["a", "b"]]);
      resolver.stop();
      await late;
      assert.deepEqual(resolver.listening(), []);
    }));

  it("tells every caller that it could not open, and may be asked again", () =>
    leavesNothing(async () => {
      let tries = 0;
      const resolver = create(() => {
        if ((tries += 1) === 1) throw new Error("told to fail");
      });
      const results = await Promise.allSettled([resolver.open("a"), resolver.open("a")]);
      assert.deepEqual(new Set(results.map(({ status }) => status)), new Set(["rejected"]));
      assert.deepEqual(resolver.listening(), []);
      await resolver.open("a");
      resolver.close("a");
    }));
});

describe("an exchange", async () => {
  const { signal } = new AbortController();
  const patience = 100;
  const ends: (() => void)[] = [];
  after(() => ends.forEach((end) => end()));

  /** A name server that says `replies(question)` to everything. @returns who asks it */
  async function upstream(transport: Transport, replies: (asked: Buffer) => Buffer[]) {
    const port = await (transport === "udp" ? udpServer(replies) : tcpServer(replies));
    const exchange = createExchange({ socket }, { port, patience });
    return (bytes: Buffer, until = signal) =>
      exchange({ server: "127.0.0.1", namespace: "host" }, bytes, transport, until);
  }
  async function udpServer(replies: (asked: Buffer) => Buffer[]): Promise<number> {
    const server = createSocket("udp4");
    server.on("message", (asked, from) => replies(asked).forEach((b) => server.send(b, from.port, from.address)));
    server.bind(0, "127.0.0.1");
    await once(server, "listening");
    ends.push(() => server.close());
    return server.address().port;
  }
  async function tcpServer(replies: (asked: Buffer) => Buffer[]): Promise<number> {
    const server = createServer((client) => {
      client.on("error", () => {});
      ends.push(() => client.destroy());
      client.on(
        "data",
        frameReader((asked) => replies(asked).forEach((b) => client.write(b))),
      );
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    ends.push(() => server.close());
    return (server.address() as AddressInfo).port;
  }
  const milliseconds = async (body: () => Promise<unknown>) => {
    const begun = performance.now();
    await body();
    return performance.now() - begun;
  };
  const forged = (asked: Buffer) => {
    const answer = answerTo(asked);
    answer.writeUInt16BE((asked.readUInt16BE(0) + 1) % 0x10000, 0);
    return answer;
  };

  for (const transport of ["udp", "tcp"] as const)
    it(`${transport}: the answer has the id of the question, which went out with others`, async () => {
      const ids = new Set<number>();
      const ask = await upstream(transport, (asked) => {
        ids.add(asked.readUInt16BE(0));
        return [transport === "tcp" ? frame(answerTo(asked)) : answerTo(asked)];
      });
      await leavesNothing(async () => {
        for (let n = 0; n < 3; n += 1) assert.equal((await ask(question("web")))?.readUInt16BE(0), 7);
      });
      assert.equal(ids.size, 3);
    });

  it("passes over forged datagrams; over TCP a forged answer is none", async () => {
    const udp = await upstream("udp", (asked) => [
      forged(asked),
      answerTo(question("evil")),
      Buffer.alloc(3),
      answerTo(asked),
    ]);
    assert.equal(nameOf(await udp(question("web"))), "web");
    const tcp = await upstream("tcp", (asked) => [frame(forged(asked)), frame(answerTo(asked))]);
    assert.equal(await tcp(question("web")), undefined);
  });

  for (const transport of ["udp", "tcp"] as const)
    it(`${transport}: ends after its patience, with its signal, and where nobody listens`, async () => {
      const ask = await upstream(transport, () => (transport === "udp" ? [] : [Buffer.from([0xff, 0xff, 1])]));
      await leavesNothing(async () => {
        assert.ok(
          (await milliseconds(async () => assert.equal(await ask(question("web")), undefined))) >= patience - 5,
        );
        const end = new AbortController();
        const all = Array.from({ length: 30 }, () => ask(question("web"), end.signal));
        const begun = calmTime();
        end.abort();
        assert.deepEqual(new Set(await Promise.all(all)), new Set([undefined]));
        const late = calmTime() - begun;
        assert.ok(late < patience / 2, `${late} ms after the signal`);
        assert.equal(await ask(question("web"), end.signal), undefined);
        const nobody = createExchange({ socket }, { port: 1, patience: 10_000 });
        assert.equal(
          await nobody({ server: "127.0.0.1", namespace: "host" }, question("web"), transport, signal),
          undefined,
        );
      });
    });

  it("is none without a socket", async () => {
    const broken = () => {
      throw new Error("EMFILE");
    };
    const exchange = createExchange({ socket: broken });
    assert.equal(await exchange({ server: "127.0.0.1", namespace: "host" }, question("web"), "udp", signal), undefined);
  });
});
