import assert from "node:assert/strict";
import { contains, parseAddress, parseCidr } from "../../src/lib/net.ts";
import type { BaseText, ChainObject, ElementObject, NamespaceName, PlanObject } from "../../src/model/plan.ts";

/** A packet, as far as rules of ours look at it. */
export interface Packet {
  readonly family: "ip" | "ip6";
  readonly protocol: "tcp" | "udp" | "icmp";
  source: string;
  destination: string;
  port: number;
  /** The interface on which it came in, or on which it goes out. */
  iif: string;
  oif: string;
  /** The sender's MAC, and the receiver's. */
  from: string;
  to: string;
  mark: number;
  readonly connection: Connection;
}
/** What connection tracking knows. */
export interface Connection {
  state: "new" | "established";
  direction: "original" | "reply";
  isTranslated: boolean;
  mark: number;
  /** It is another connection than one of the same addresses and ports in another zone. */
  zone?: number;
  /** The name of what says after how long it is forgotten. */
  idle?: string | undefined;
}
export type Verdict = "accept" | "drop" | "reject" | "reset";

interface Chain {
  readonly hook?: string;
  readonly rules: readonly string[];
}
interface Table {
  readonly chains: Map<string, Chain>;
  /** Elements of sets and maps: key → value; "" in a set. */
  readonly sets: Map<string, Map<string, string>>;
}
type Ruled = "ip" | "ip6" | "netdev";

const priorities: Readonly<Record<string, number>> = { raw: -300, mangle: -150, dstnat: -100, filter: 0, srcnat: 100 };

/** Follows packets through the rules of plans, as text: what it cannot read fails. */
export class Tracer {
  readonly #tables = new Map<string, Table>();
  readonly #counters = new Map<string, number>();
  readonly #base: BaseText;
  readonly #random: () => number;
  readonly #local: (namespace: NamespaceName, address: string) => boolean;

  constructor(
    base: BaseText,
    objects: readonly PlanObject[],
    local: (namespace: NamespaceName, address: string) => boolean,
    random: () => number = Math.random,
  ) {
    [this.#base, this.#local, this.#random] = [base, local, random];
    for (const object of objects)
      if (object.kind === "chain") this.#addChain(object);
      else if (object.kind === "element") this.#addElement(object);
  }

  #table(namespace: NamespaceName, family: string): Table {
    const key = `${namespace} ${family}`;
    const known = this.#tables.get(key) ?? readTable(this.#base(namespace)[family as Ruled] ?? "");
    this.#tables.set(key, known);
    return known;
  }

  #addChain({ namespace, family, name, hook, link, rules }: ChainObject): void {
    const text = `type filter hook ${hook} device "${link}" priority filter; policy accept;`;
    this.#table(namespace, family).chains.set(name, { rules, ...(hook !== undefined && { hook: text }) });
  }

  #addElement({ namespace, family, set, key, value = "" }: ElementObject): void {
    this.#table(namespace, family).sets.get(set)?.set(key.replaceAll('"', ""), value);
  }

  /** A packet at one of the kernel's hooks. @returns what becomes of it; it may be another one then */
  at(namespace: NamespaceName, hook: string, packet: Packet, family: Ruled = packet.family): Verdict {
    const table = this.#table(namespace, family);
    const chains = [...table.chains].flatMap(([name, { hook: at }]) => {
      const [, type = "", where = "", device = "", word = ""] =
        /^type (\w+) hook (\w+) (?:device "([^"]+)" )?priority (\S+);/.exec(at ?? "") ?? [];
      if (where !== hook || (device !== "" && ![packet.iif, packet.oif].includes(device))) return [];
      // Translation is decided once, by the first packet.
      if (type === "nat" && packet.connection.state !== "new") return [];
      return [{ name, priority: priorities[word] ?? Number(word) }];
    });
    for (const { name } of chains.toSorted((a, b) => a.priority - b.priority)) {
      const verdict = this.#run(namespace, table, name, packet);
      if (verdict !== undefined && verdict !== "accept") return verdict;
    }
    return "accept";
  }

  /** @returns undefined at the end of the chain */
  #run(namespace: NamespaceName, table: Table, name: string, packet: Packet): Verdict | undefined {
    const chain = table.chains.get(name);
    assert.ok(chain, `no chain ${name}`);
    for (const [index, rule] of chain.rules.entries()) {
      const result = new Rule(rule, {
        packet,
        sets: table.sets,
        number: (kind, count) => this.#number(`${namespace} ${name} ${index}`, kind, count, packet),
        isLocal: (address) => this.#local(namespace, address),
      }).run();
      if (result === undefined) continue;
      if (result === "return") return undefined;
      const [, verb, target = ""] = /^(jump|goto) (\S+)$/.exec(result) ?? [];
      if (verb === undefined) return result as Verdict;
      const verdict = this.#run(namespace, table, target, packet);
      if (verdict !== undefined || verb === "goto") return verdict;
    }
    return undefined;
  }

  #number(at: string, kind: string, count: number, packet: Packet): number {
    if (kind === "random") return Math.floor(this.#random() * count);
    if (kind === "hash") return [...packet.source].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7) % count;
    const next = (this.#counters.get(at) ?? -1) + 1;
    this.#counters.set(at, next);
    return next % count;
  }
}

function readTable(text: string): Table {
  const table: Table = { chains: new Map(), sets: new Map() };
  for (const [, , name = ""] of text.matchAll(/^ {2}(set|map) (\S+) \{/gm)) table.sets.set(name, new Map());
  for (const [, name = ""] of text.matchAll(/^ {2}chain (\S+) \{ \}$/gm)) table.chains.set(name, { rules: [] });
  for (const [, name = "", body = ""] of text.matchAll(/^ {2}chain (\S+) \{\n(.*?)^ {2}\}/gms)) {
    const lines = body.split("\n").flatMap((line) => (line.trim() === "" ? [] : [line.trim()]));
    const [first = ""] = lines;
    table.chains.set(name, first.startsWith("type ") ? { hook: first, rules: lines.slice(1) } : { rules: lines });
  }
  return table;
}

interface Surroundings {
  readonly packet: Packet;
  readonly sets: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly number: (kind: "inc" | "random" | "hash", count: number) => number;
  readonly isLocal: (address: string) => boolean;
}

/** One rule, read from left to right. */
class Rule {
  #rest: string;
  readonly #around: Surroundings;

  constructor(text: string, around: Surroundings) {
    [this.#rest, this.#around] = [text, around];
  }

  /** @returns the verdict, or where it leads; undefined when the packet does not match, or goes on */
  run(): string | undefined {
    while (this.#rest !== "") {
      const result = this.#statement();
      if (result === false) return undefined;
      if (typeof result === "string") return result;
    }
    return undefined;
  }

  /** Takes what matches off the beginning. */
  #take(pattern: RegExp): RegExpExecArray | undefined {
    const found = new RegExp(`^(?:${pattern.source})(?: |$)`).exec(this.#rest) ?? undefined;
    if (found !== undefined) this.#rest = this.#rest.slice(found[0].length);
    return found;
  }

  /** @returns false when the packet does not match, a verdict, or true to go on */
  #statement(): boolean | string {
    const { packet } = this.#around;
    const verdict = this.#take(/accept|drop|return|(?:jump|goto) \S+/);
    if (verdict !== undefined) return verdict[0].trim();
    if (this.#take(/reject with tcp reset/)) return "reset";
    if (this.#take(/reject/)) return "reject";
    if (this.#take(/notrack/)) return true;
    const timeout = this.#take(/ct timeout set "(\S+)"/);
    if (timeout !== undefined) return this.#do(() => (packet.connection.idle = timeout[1]));
    if (this.#rest.startsWith("udp ") && packet.protocol !== "udp") return false;
    if (this.#take(/masquerade/)) return this.#masquerade();
    if (this.#take(/ct mark set 0x1/)) return this.#do(() => (packet.connection.mark = 1));
    if (this.#take(/ct original zone set @ll,80,16/))
      return this.#do(() => (packet.connection.zone = parseInt(packet.from.slice(-5).replace(":", ""), 16)));
    if (this.#take(/ct mark set @ll,64,32/)) return this.#do(() => (packet.connection.mark = markOf(packet.from)));
    if (this.#take(/meta mark set ct mark/)) return this.#do(() => (packet.mark = packet.connection.mark));
    if (this.#take(/meta mark set 0x00000000/)) return this.#do(() => (packet.mark = 0));
    if (this.#take(/meta mark set/)) return this.#setMark(this.#key());
    const learned = this.#take(/update @(\w+) \{ @ll,64,32 : ether saddr \}/);
    if (learned !== undefined)
      return this.#do(() => this.#writable(learned[1] ?? "").set(String(markOf(packet.from)), packet.from));
    const sent = this.#take(/ether daddr set meta mark map @(\w+)/);
    if (sent !== undefined) return this.#send(this.#set(sent[1] ?? "").get(String(packet.mark)));
    if (this.#take(/dnat (?:ip6? )?to/)) return this.#translate();
    return this.#match();
  }

  #do(body: () => unknown): true {
    body();
    return true;
  }

  #setMark(key: string): boolean {
    const map = this.#take(/map @(\w+)/);
    const value = map === undefined ? key : this.#set(map[1] ?? "").get(key);
    if (value !== undefined) this.#around.packet.mark = Number(value);
    return value !== undefined;
  }

  #masquerade(): string {
    this.#around.packet.source = `masqueraded on ${this.#around.packet.oif}`;
    return "accept";
  }

  #send(mac: string | undefined): boolean {
    if (mac !== undefined) this.#around.packet.to = mac;
    return mac !== undefined;
  }

  #translate(): boolean | string {
    const key = this.#key();
    const map = this.#take(/map @(\w+)/);
    assert.ok(map, `the tracer cannot read: ${this.#rest}`);
    const value = this.#set(map[1] ?? "").get(key);
    if (value === undefined) return false;
    const { packet } = this.#around;
    const [address = "", port] = value.split(" . ");
    packet.destination = address;
    if (port !== undefined) packet.port = Number(port);
    packet.connection.isTranslated = true;
    return "accept";
  }

  #match(): boolean | string {
    const { packet } = this.#around;
    const { connection } = packet;
    const states = this.#take(/ct state ([\w,]+)/);
    if (states !== undefined) return (states[1] ?? "").split(",").includes(connection.state);
    if (this.#take(/ct status dnat/)) return connection.isTranslated;
    if (this.#take(/ct direction reply/)) return connection.direction === "reply";
    if (this.#take(/ct mark 0x1/)) return connection.mark === 1;
    const masked = this.#take(/(ct|meta) mark & (0x[0-9a-f]+) == (0x[0-9a-f]+)/);
    if (masked !== undefined) {
      const mark = masked[1] === "ct" ? connection.mark : packet.mark;
      return (mark & Number(masked[2])) >>> 0 === Number(masked[3]);
    }
    const ether = this.#take(/ether saddr & ff:ff:ff:00:00:00 == (\S+)/);
    if (ether !== undefined) return packet.from.slice(0, 8) === ether[1]?.slice(0, 8);
    if (this.#take(/fib daddr type local/)) return this.#around.isLocal(packet.destination);
    const chance = this.#take(/numgen random mod (\d+) 0/);
    if (chance !== undefined) return this.#around.number("random", Number(chance[1])) === 0;
    return this.#compare();
  }

  /** `KEY vmap @map`, `KEY vmap { value : verdict, … }`, `KEY @set`, `KEY value`, `KEY { values }`, with `!=` before the right side. */
  #compare(): boolean | string {
    const key = this.#key();
    const vmap = this.#take(/vmap @(\w+)/);
    if (vmap !== undefined) return this.#set(vmap[1] ?? "").get(key) ?? false;
    const listedVerdicts = this.#take(/vmap \{ ([^}]+) \}/)?.[1]?.split(", ");
    if (listedVerdicts !== undefined)
      return new Map(listedVerdicts.map((one) => one.split(" : ") as [string, string])).get(key) ?? false;
    const isNot = this.#take(/!=/) !== undefined;
    const set = this.#take(/@(\w+)/);
    const values = set === undefined ? this.#take(/\{ ([^}]+) \}|"([^"]*)"|(\S+)/) : undefined;
    const listed =
      set === undefined
        ? (values?.[1]?.split(", ") ?? [values?.[2] ?? values?.[3] ?? ""])
        : [...this.#set(set[1] ?? "").keys()];
    return listed.some((value) => fits(key, value)) !== isNot;
  }

  /** What stands on the left, as text. */
  #key(): string {
    const parts = [this.#field()];
    while (this.#take(/\./)) parts.push(this.#field());
    return parts.join(" . ");
  }

  #field(): string {
    const { packet, number } = this.#around;
    const fields: readonly (readonly [RegExp, (found: RegExpExecArray) => string | number])[] = [
      [/ip6? daddr/, () => packet.destination],
      [/ip6? saddr/, () => packet.source],
      [/meta l4proto/, () => packet.protocol],
      [/(?:th|tcp|udp) dport/, () => packet.port],
      [/iifname/, () => packet.iif],
      [/oifname/, () => packet.oif],
      [/meta mark/, () => packet.mark],
      [/numgen (inc|random) mod (\d+)/, ([, kind, count]) => number(kind as "inc", Number(count))],
      [/jhash ip6? saddr mod (\d+) seed 0x54/, ([, count]) => number("hash", Number(count))],
    ];
    for (const [pattern, valueOf] of fields) {
      const found = this.#take(pattern);
      if (found !== undefined) return String(valueOf(found));
    }
    throw new Error(`the tracer cannot read: ${this.#rest}`);
  }

  #set(name: string): ReadonlyMap<string, string> {
    const set = this.#around.sets.get(name);
    assert.ok(set, `no set ${name}`);
    return set;
  }
  #writable = (name: string) => this.#set(name) as Map<string, string>;
}

/** Equal, or in a subnet. */
function fits(key: string, value: string): boolean {
  if (key === value) return true;
  const [subnet, address] = [parseCidr(value), parseAddress(key)];
  return subnet !== undefined && address !== undefined && contains(subnet, address);
}

/** The last four bytes of a MAC as Linux keeps them in a mark: the first is the lowest. */
export const markOf = (mac: string): number =>
  mac
    .split(":")
    .slice(2)
    .reduceRight((mark, byte) => mark * 256 + Number.parseInt(byte, 16), 0);
