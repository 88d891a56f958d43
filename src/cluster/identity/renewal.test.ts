import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { describe, it } from "node:test";
import { createRequest } from "./csr.ts";
import { sign } from "./external-testing.ts";
import { createRoot } from "./root.ts";
import { type Life, lifeOf, Renewal, type RenewalParts, renewAt, retryPause } from "./renewal.ts";
import { day, hour, newAuthority, node } from "./testing.ts";

const now = Math.floor(Date.now() / 1000) * 1000;

describe("when to renew", () => {
  it("between 50 and 80 % of the life", () => {
    const life = { issued: 1000, expires: 2000 };
    assert.deepEqual(
      [0, 0.5, 1].map((random) => renewAt(life, random)),
      [1500, 1650, 1800],
    );
  });

  it("a life begins with the issue, not with the hour before it", () => {
    const { cert } = node(newAuthority(), { expiry: hour }, now);
    assert.deepEqual(lifeOf(cert), { issued: now, expires: now + hour });
  });

  it("of an external CA's hour, which begins five minutes ago, there is time left to renew in", () => {
    const { key, subject } = node(newAuthority());
    const names = { CN: subject.nodeId, names: [] };
    const request = { certificate_request: createRequest(key), subject: names, hosts: [], by: "" };
    const [from, expires] = [now - hour / 12, now + (11 / 12) * hour];
    const life = lifeOf(sign(createRoot(), request, { content: { from, to: expires } }));
    assert.deepEqual(life, { issued: now + (5 / 12) * hour, expires });
  });

  it("after failures from half to a whole second, then twice as long up to five minutes", () => {
    assert.deepEqual(
      [1, 2, 3, 9, 10, 1000].map((n) => retryPause(n, 0)),
      [1000, 2000, 4000, 256_000, 300_000, 300_000],
    );
    assert.equal(retryPause(1, 1), 500);
  });
});

/** A clock that jumps from timer to timer. */
class Clock {
  time = 0;
  readonly calls: { readonly at: number; readonly call: () => void }[] = [];
  readonly failures: number[] = [];
  readonly renewed: number[] = [];
  readonly parts: RenewalParts;

  constructor(renew: (clock: Clock) => Life | Promise<Life>) {
    this.parts = {
      renew: async () => {
        this.renewed.push(this.time);
        return renew(this);
      },
      failed: (_, pause) => void this.failures.push(pause),
      now: () => this.time,
      random: () => 0,
      after: (milliseconds, call) => {
        assert.ok(milliseconds < 2 ** 31, "a timer of node:timers cannot wait that long");
        const entry = { at: this.time + milliseconds, call };
        this.calls.push(entry);
        return () => void (this.calls.includes(entry) && this.calls.splice(this.calls.indexOf(entry), 1));
      },
    };
  }

  /** Runs timers until none is due before `end`. */
  async until(end: number): Promise<void> {
    for (let next = this.calls[0]; next !== undefined && next.at <= end; next = this.calls[0]) {
      assert.equal(this.calls.length, 1, "one timer at a time");
      this.calls.shift();
      this.time = Math.max(this.time, next.at);
      next.call();
      await setImmediate();
    }
    this.time = end;
  }
}
const life = (from: number): Life => ({ issued: from, expires: from + 90 * day });

describe("renewal", () => {
  it("comes at 45 of 90 days, and again, though a timer holds 24", async () => {
    const clock = new Clock(({ time }) => life(time));
    new Renewal(life(0), clock.parts);
    await clock.until(100 * day);
    assert.deepEqual(clock.renewed, [45 * day, 90 * day]);
  });

  it("is made within the hour when the clock has jumped, as after sleep", async () => {
    const clock = new Clock(({ time }) => life(time));
    new Renewal(life(0), clock.parts);
    clock.time = 80 * day;
    await clock.until(80 * day);
    assert.deepEqual(clock.renewed, [80 * day]);
  });

  it("is tried again with growing pauses, then goes on as before", async () => {
    const clock = new Clock(({ time, renewed }) => {
      if (renewed.length <= 3) throw new Error("no manager");
      return life(time);
    });
    new Renewal(life(0), clock.parts);
    await clock.until(45 * day + 60_000);
    assert.deepEqual(clock.failures, [1000, 2000, 4000]);
    assert.deepEqual(
      clock.renewed.map((t) => t - 45 * day),
      [0, 1000, 3000, 7000],
    );
    await clock.until(91 * day);
    assert.equal(clock.renewed.length, 5);
  });

  it("comes at once when asked for, and once more when one is under way", async () => {
    const gate = Promise.withResolvers<void>();
    const clock = new Clock(({ time }) => gate.promise.then(() => life(time)));
    const renewal = new Renewal(life(0), clock.parts);
    renewal.now();
    await clock.until(1);
    renewal.now();
    renewal.now();
    assert.equal(clock.calls.length, 0);
    gate.resolve();
    await setImmediate();
    await clock.until(2);
    assert.deepEqual(clock.renewed, [0, 1]);
  });

  it("leaves no timer when it is stopped, before, in and after a renewal", async () => {
    const gate = Promise.withResolvers<Life>();
    const clock = new Clock(() => gate.promise);
    const renewal = new Renewal(life(0), clock.parts);
    renewal.now();
    await clock.until(1);
    renewal.stop();
    gate.reject(new Error("stopped"));
    await setImmediate();
    renewal.now();
    assert.deepEqual([clock.calls.length, clock.failures], [0, []]);
    const idle = new Clock(() => life(0));
    new Renewal(life(0), idle.parts).stop();
    assert.equal(idle.calls.length, 0);
  });
});
