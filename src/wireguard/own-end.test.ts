import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { generationTo, type OwnEnd, type WireguardEnd } from "../model/wireguard.ts";
import { type KeyWish, mayDrop, needsKey, withAnswers, withKey, withoutOlder, withSends } from "./own-end.ts";

const wish = (generation: number, isKnown = false): KeyWish => ({
  cluster: "c",
  generation,
  isKnown,
  link: generation % 2 === 0 ? "even" : "odd",
  udpPort: 4793 + (generation % 2),
});
const publicKey = (host: string, generation: number) => `${host}${generation}`;
/** This host after it got keys of these generations, one after the other. */
const ownWith = (...generations: number[]): OwnEnd =>
  generations.reduce<OwnEnd | undefined>(
    (own, generation) => withKey(own, wish(generation), publicKey("me", generation)),
    undefined,
  ) as OwnEnd;
const end = (id: string, sends: number, ...generations: number[]): WireguardEnd => ({
  id,
  address: id,
  keys: generations.map((generation) => ({ generation, publicKey: publicKey(id, generation) })),
  sends,
});
const generations = ({ keys }: OwnEnd) => keys.map(({ generation }) => generation);
const hear = (own: OwnEnd, ends: readonly WireguardEnd[], ...keys: string[]) => withAnswers(own, ends, new Set(keys));

describe("a host's keys", () => {
  it("are two at most, each with a link of its own; a third takes the first one's place", () => {
    assert.equal(needsKey(undefined, wish(1)), true);
    const one = ownWith(1);
    assert.deepEqual(one, {
      id: "c",
      keys: [{ generation: 1, publicKey: "me1", link: "odd", udpPort: 4794 }],
      sends: 1,
      answered: {},
    });
    assert.equal(needsKey(one, wish(1)), false);
    assert.equal(needsKey(one, wish(2)), true);
    assert.deepEqual(generations(ownWith(1, 2)), [1, 2]);
    assert.deepEqual(generations(ownWith(1, 2, 3)), [2, 3]);
    assert.deepEqual(generations(ownWith(1, 3)), [3], "who was away: the link is the same");
    assert.deepEqual(generations(ownWith(1, 4)), [1, 4]);
  });

  it("are others in another swarm, and in one that was begun again from what it was", () => {
    const own = ownWith(6, 7);
    assert.equal(needsKey(own, { ...wish(7), cluster: "d" }), true);
    assert.deepEqual(generations(withKey(own, { ...wish(7), cluster: "d" }, "x")), [7]);
    assert.deepEqual(generations(withKey(own, wish(5), "x")), [5]);
  });
});

describe("the way to another host", () => {
  it("is by the older key until that host has answered to the newer", () => {
    const [own, other] = [ownWith(1, 2), end("a", 1, 1, 2)];
    assert.equal(generationTo(own, other), 1);
    assert.equal(generationTo(hear(own, [other], "a1", "b2"), other), 1);
    assert.equal(generationTo(hear(own, [other], "a2"), other), 2);
  });

  it("is by the one that both have, and by none without", () => {
    const own = ownWith(2, 3);
    assert.equal(generationTo(own, end("late", 2, 2)), 2);
    assert.equal(generationTo(own, end("new", 3, 3)), 3);
    assert.equal(generationTo(own, end("ahead", 3, 3, 4)), 3);
    assert.equal(generationTo(own, end("lost", 1, 1)), undefined);
  });

  it("does not go back: an answer counts until the key goes, or the host", () => {
    const ends = [end("a", 1, 1, 2), end("b", 1, 1)];
    const heard = hear(ownWith(1, 2), ends, "a2");
    assert.deepEqual(hear(heard, ends).answered, { a: 2 });
    assert.deepEqual(hear(heard, ends.slice(1)).answered, {});
    assert.deepEqual(withoutOlder(heard).answered, {});
  });
});

describe("a rotation", () => {
  it("is over for a host when the keys of all are known and all who have one have answered", () => {
    const ends = [end("a", 1, 1, 2), end("late", 1, 1)];
    const own = ownWith(1, 2);
    const heard = hear(own, ends, "a2");
    assert.equal(withSends(own, wish(2, true), ends).sends, 1);
    assert.equal(withSends(heard, wish(2, false), ends).sends, 1, "one more may have a key that is not heard of yet");
    assert.equal(withSends(heard, undefined, ends).sends, 1, "no manager has said anything since the start");
    assert.equal(withSends(heard, wish(2, true), ends).sends, 2);
    // The late one is back.
    const back = [end("a", 2, 1, 2), end("late", 1, 1, 2)];
    assert.equal(withSends(heard, wish(2, true), back).sends, 1);
    assert.equal(withSends(hear(heard, back, "late2"), wish(2, true), back).sends, 2);
  });

  it("takes the older key away when nobody sends by it, nor has to be reached by it", () => {
    const own = (ends: readonly WireguardEnd[]) =>
      withSends(hear(ownWith(1, 2), ends, "a2", "b2"), wish(2, true), ends);
    const drops = (...ends: WireguardEnd[]) => mayDrop(own(ends), ends);
    assert.equal(drops(), true, "alone");
    assert.equal(drops(end("a", 2, 1, 2), end("b", 2, 2)), true);
    assert.equal(drops(end("a", 1, 1, 2)), false, "it sends by the older one still");
    assert.equal(drops(end("a", 2, 1, 2), end("late", 1, 1)), false, "it has no other");
    assert.equal(drops(end("a", 2, 1, 2), end("late", 1, 1, 2)), false, "it has not answered");
    assert.deepEqual(generations(withoutOlder(own([]))), [2]);
    assert.equal(mayDrop(ownWith(2), []), false);
  });
});

/**
 * Hosts that hear of one another late and in any order. At times one is away, or its daemon is gone. Both is not tried: one
 * that comes back is not reached from where the daemon goes before it has looked once, until that is back.
 */
for (const kind of ["away", "asleep"] as const)
  it(`never takes a key away by which another host sends, whatever is heard when, while one is ${kind} at times`, () => {
    let rotations = 0;
    for (let seed = 1; seed <= 300; seed += 1) rotations += new Hosts(seed, kind).play();
    assert.ok(rotations > 300, `${rotations} rotations`);
  });

type Said = Omit<WireguardEnd, "address">;
class Hosts {
  readonly #random: () => number;
  readonly #names = ["a", "b", "c"];
  #cluster = { generation: 1, isKnown: true };
  /** What each has, what the manager has heard of each, and what each has heard of the others and of the cluster. */
  readonly #own = new Map(this.#names.map((name) => [name, keyed(name, undefined, wish(1))]));
  readonly #rows = new Map<string, Said>();
  readonly #heard = new Map<string, { ends: WireguardEnd[]; wish: KeyWish }>();
  readonly #away = new Set<string>();
  /** Without a daemon: they do nothing, and are at work for the managers, who have not missed a beat yet. */
  readonly #asleep = new Set<string>();
  /** Who was away, until it has come to the present keys. */
  readonly #late = new Set<string>();

  readonly #kind: "away" | "asleep";

  constructor(seed: number, kind: "away" | "asleep") {
    this.#kind = kind;
    let state = seed;
    this.#random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    for (const name of this.#names) this.#say(name);
    for (const name of this.#names) this.#hear(name);
  }

  /** @returns how many rotations were begun */
  play(): number {
    for (let step = 0; step < 400; step += 1) {
      this.#step();
      this.#check();
    }
    return this.#cluster.generation - 1;
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)] as T;
  }

  #step(): void {
    const name = this.#pick(this.#names);
    const own = this.#own.get(name) as OwnEnd;
    const { wish: wanted } = this.#heard.get(name) as { wish: KeyWish };
    const isAway = this.#away.has(name);
    const actions: (() => void)[] = [
      () => void (isAway || this.#hear(name)),
      () => void (isAway || this.#say(name)),
      () => this.#own.set(name, needsKey(own, wanted) ? keyed(name, own, wanted) : own),
      () => this.#look(name),
      () => this.#drop(name),
      () => void (isAway || this.#lead()),
    ];
    if (!this.#asleep.has(name)) this.#pick(actions)();
    this.#trouble(name);
  }
  #trouble(name: string): void {
    const isNow = this.#random() < 0.02;
    if (isNow && this.#kind === "away" && this.#away.size === 0) {
      this.#away.add(name);
      this.#late.add(name);
    } else if (isNow && this.#kind === "asleep" && this.#asleep.size === 0) this.#asleep.add(name);
    else if (this.#random() < 0.02) {
      this.#away.clear();
      this.#asleep.clear();
    }
  }

  #look(name: string): void {
    const { ends, wish: wanted } = this.#heard.get(name) as { ends: WireguardEnd[]; wish: KeyWish };
    const own = this.#own.get(name) as OwnEnd;
    this.#own.set(name, withSends(withAnswers(own, ends, this.#answers(name)), wanted, ends));
  }
  #drop(name: string): void {
    const isSo = () => mayDrop(this.#own.get(name) as OwnEnd, this.#heard.get(name)?.ends ?? []);
    if (this.#isStill(isSo)) this.#own.set(name, withoutOlder(this.#own.get(name) as OwnEnd));
  }
  /** True when it is so, and after so long a time that everybody has heard, looked and said what came of it. */
  #isStill(isSo: () => boolean): boolean {
    if (!isSo()) return false;
    const awake = this.#names.filter((name) => !this.#away.has(name) && !this.#asleep.has(name));
    for (const name of awake) this.#hear(name);
    for (const name of awake) this.#look(name);
    for (const name of awake) this.#say(name);
    return isSo();
  }

  #atWork = () => [...this.#rows.values()].filter(({ id }) => !this.#away.has(id));
  #lead(): void {
    const { generation, isKnown } = this.#cluster;
    const all = this.#atWork();
    if (!isKnown && all.every(({ keys }) => keys.some((key) => key.generation === generation)))
      this.#cluster = { generation, isKnown: true };
    else if (isKnown && this.#isStill(() => this.#atWork().every(({ sends }) => sends === generation)))
      this.#cluster = { generation: generation + 1, isKnown: false };
  }

  #say(name: string): void {
    const { keys, sends } = this.#own.get(name) as OwnEnd;
    this.#rows.set(name, { id: name, keys, sends });
  }
  #hear(name: string): void {
    const { generation, isKnown } = this.#cluster;
    const others = [...this.#rows.values()].filter(({ id }) => id !== name);
    this.#heard.set(name, {
      ends: others.map((said) => ({ ...said, address: said.id })),
      wish: wish(generation, isKnown),
    });
  }

  /** Who has a peer of the newest key of this host, as this host has one of theirs. */
  #answers(name: string): Set<string> {
    const own = this.#own.get(name) as OwnEnd;
    const newest = own.keys.at(-1)?.generation ?? 0;
    return new Set(
      this.#names
        .filter((other) => other !== name && this.#passes(name, other, newest))
        .map((o) => publicKey(o, newest)),
    );
  }
  /** A packet of `from` by that generation comes through to `to`. */
  #passes(from: string, to: string, generation: number): boolean {
    const knows = (one: string, other: string) =>
      this.#heard
        .get(one)
        ?.ends.some(({ id, keys }) => id === other && keys.some((key) => key.generation === generation));
    const has = (one: string) => generations(this.#own.get(one) as OwnEnd).includes(generation);
    return has(from) && has(to) && knows(from, to) === true && knows(to, from) === true;
  }

  #check(): void {
    for (const name of this.#late) if (!this.#away.has(name) && this.#isBack(name)) this.#late.delete(name);
    for (const from of this.#names)
      for (const to of this.#names) {
        if (from === to || this.#late.has(from) || this.#late.has(to)) continue;
        assert.ok(this.#reaches(from, to), `${from} does not reach ${to}`);
      }
  }
  #reaches(from: string, to: string): boolean {
    const theirs = this.#heard.get(from)?.ends.find(({ id }) => id === to);
    const used = theirs && generationTo(this.#own.get(from) as OwnEnd, theirs);
    return used !== undefined && this.#passes(from, to, used);
  }
  #isBack(name: string): boolean {
    const { generation, isKnown } = this.#cluster;
    const others = this.#names.filter((other) => other !== name && !this.#late.has(other));
    const isAtPar = isKnown && this.#own.get(name)?.sends === generation;
    return isAtPar && others.every((other) => this.#reaches(name, other) && this.#reaches(other, name));
  }
}

const keyed = (name: string, own: OwnEnd | undefined, wanted: KeyWish) =>
  withKey(own, wanted, publicKey(name, wanted.generation));
