/**
 * A name server for tests: `node name-server.ts <address>…` listens on port 53 of each, over UDP and TCP, says `ready`, and
 * then every name that it is asked.
 *
 * | name | answer |
 * |---|---|
 * | `who.<address>` for one of its own | the address that asks, of the family that was asked for |
 * | `big.example` | 300 addresses: over UDP none, cut short |
 * | `silent.example` | nothing at all |
 * | `fail.<…>`, and `who` of others | SERVFAIL |
 * | anything else | NXDOMAIN |
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, isIPv6 } from "node:net";
import packet, { type Answer } from "dns-packet";
import { frame, frameReader } from "../../src/dns/wire.ts";

const own = process.argv.slice(2);
const code = { serverFailure: 2, noSuchName: 3 } as const;
const truncated = 1 << 9;
const many = Array.from({ length: 300 }, (_, n) => `10.1.${n >> 8}.${n & 255}`);

function answer(bytes: Buffer, from: string, transport: "udp" | "tcp"): Buffer | undefined {
  const { id = 0, questions = [] } = packet.decode(bytes);
  const { name = "", type = "A" } = questions[0] ?? {};
  process.stdout.write(`${name}\n`);
  const reply = (flags: number, addresses: readonly string[] = []) => {
    const answers = addresses
      .filter((a) => (type === "AAAA") === isIPv6(a) && (type === "A" || type === "AAAA"))
      .map((data): Answer => ({ type: type === "A" ? "A" : "AAAA", name, ttl: 1, data }));
    return packet.encode({ type: "response", id, flags, questions, answers });
  };
  if (name === "silent.example") return undefined;
  if (name === "big.example") return transport === "udp" ? reply(truncated) : reply(0, many);
  if (own.some((address) => name === `who.${address}`)) return reply(0, [from.replace("::ffff:", "")]);
  return reply(/^(who|fail)\./.test(name) ? code.serverFailure : code.noSuchName);
}

for (const address of own) {
  const udp = createSocket(isIPv6(address) ? "udp6" : "udp4");
  udp.on("message", (bytes, from) => {
    const reply = answer(bytes, from.address, "udp");
    if (reply !== undefined) udp.send(reply, from.port, from.address);
  });
  udp.bind(53, address);
  const tcp = createServer((client) => {
    const from = client.remoteAddress ?? "";
    client.on("error", () => client.destroy());
    client.on(
      "data",
      frameReader((bytes) => {
        const reply = answer(bytes, from, "tcp");
        if (reply !== undefined) client.write(frame(reply));
      }),
    );
  }).listen(53, address);
  await Promise.all([once(udp, "listening"), once(tcp, "listening")]);
}
process.stdout.write("ready\n");
