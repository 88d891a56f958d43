import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { idOf } from "../../test/support/rows.ts";
import { attach, detach } from "../cluster/attachments.ts";
import { SessionRequestSchema, SessionResponseSchema } from "../cluster/gen/control_pb.ts";
import { unavailable } from "../lib/errors.ts";
import type { Snapshot } from "../store/store.ts";
import { type Manager, type OnMessage, serveManager, startWorker, type Worker } from "./overlays-testing.ts";

/** Cuts the wire at the message of that number, before it is passed on or after. */
interface Cut {
  readonly at: number;
  readonly when: "before" | "after";
}
const outage = 100; // milliseconds
const arrival = 20; // milliseconds in which a message that was sent arrives
const patience = 30_000; // milliseconds
const atOnce = 10; // stories

/**
 * Containers come and go on both hosts, on the other one while the wire is cut, too; in the end some are left.
 * @returns the messages, and whether the wire was cut
 */
async function story(cut?: Cut) {
  const messages: string[] = [];
  let wasCut = false;
  const onMessage: OnMessage = async (message, when) => {
    if (when === "before") messages.push(message);
    if (wasCut || when !== cut?.when || messages.length <= cut.at) return;
    wasCut = true;
    if (when === "after") await sleep(arrival);
    manager.wire.cut();
    for (const number of [1, 2, 3]) await change(number);
    setTimeout(() => manager.wire.heal(), outage);
    throw unavailable("the wire is cut");
  };
  await using opened = new AsyncDisposableStack();
  const manager = await serveManager(onMessage);
  opened.defer(manager.stop);
  const worker = await startWorker(manager, 3);
  opened.defer(worker.stop);
  /** A container of the other host comes, or goes. */
  const change = (number: number) =>
    manager.store.update((tx) => {
      const [endpointId, containerId, containerName] = [idOf("e", number), idOf("c", number), `o${number}`];
      if (tx.get("peers", endpointId) !== undefined) detach(tx, manager.other, [endpointId]);
      else
        attach(tx, manager.other, { network: "net", endpointId, containerId, containerName, names: [containerName] });
    });
  const failures = watchOver(manager, worker);
  await worker.connect("c1");
  worker.route("198.51.100.0/24");
  await change(1);
  await worker.connect("c2");
  await worker.disconnect("c1");
  await change(2);
  await agreement(manager, worker);
  await change(1);
  await worker.disconnect("c2");
  await worker.connect("c3");
  await agreement(manager, worker);
  assert.deepEqual(await worker.audit(), []);
  assert.deepEqual(failures, []);
  return { messages, wasCut };
}

/** At no time a container has an address that it has not claimed. @returns the endpoints of those that had, later on */
function watchOver(manager: Manager, worker: Worker): readonly string[] {
  const failures: string[] = [];
  const look = async (): Promise<void> => {
    for await (const { snapshot } of manager.store.watch(manager.signal))
      for (const { id, addresses } of worker.store.snapshot().list("endpoints"))
        if (snapshot.where("claims", "owner", id)[0]?.address !== addresses[0]?.address) failures.push(id);
  };
  void look();
  return failures;
}

type Rows = readonly { readonly id: string; readonly addresses: readonly { readonly address: string }[] }[];
const lines = (rows: Rows) => rows.map(({ id, addresses: [one] }) => `${id} ${one?.address}`).toSorted();
const claimsIn = (rows: Snapshot) =>
  lines(
    rows.list("claims").flatMap((claim) => (claim.kind === "endpoint" ? { id: claim.owner, addresses: [claim] } : [])),
  );

/** Waits until claims, rows and what both hosts have and know are the same. @throws when they are not in time */
async function agreement({ store, other }: Manager, worker: Worker): Promise<void> {
  for (const end = Date.now() + patience; ; await sleep(20))
    try {
      const [there, here] = [store.snapshot(), worker.store.snapshot()];
      const others = there.list("peers").filter(({ nodeId }) => nodeId === other);
      assert.deepEqual(claimsIn(there), lines(there.list("peers")));
      assert.deepEqual(lines([...here.list("endpoints"), ...others]), lines(there.list("peers")));
      assert.deepEqual(lines(here.list("peers")), lines(others));
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
    }
}

describe("a wire between node and manager that is cut at any message, and healed: calls are answered, nothing is double", async () => {
  const { messages } = await story();
  const cuts = messages.flatMap((_, at) => [{ at, when: "before" } as const, { at, when: "after" } as const]);
  // Most of a story is waiting, but a call's patience is five seconds: all of them at once are too many for a slow machine.
  const runs: PromiseSettledResult<Awaited<ReturnType<typeof story>>>[] = [];
  for (let first = 0; first < cuts.length; first += atOnce)
    runs.push(...(await Promise.allSettled(cuts.slice(first, first + atOnce).map(story))));

  it("every kind of message is among them", () => {
    const ofServices = ["report", "applied", "logs_wanted"]; // there are none here
    const namesOf = (schema: typeof SessionRequestSchema | typeof SessionResponseSchema, from: string) =>
      schema.fields.flatMap(({ name }) => (ofServices.includes(name) ? [] : `${from}: ${name}`));
    const up = namesOf(SessionRequestSchema, "node");
    const down = namesOf(SessionResponseSchema, "manager");
    assert.deepEqual(new Set(messages), new Set([...up, ...down, "attach", "detach"]));
  });
  for (const [index, { at, when }] of cuts.entries())
    it(`${when} message ${at}, ${messages[at]}`, async () => {
      const run = runs[index];
      if (run?.status !== "fulfilled") throw run?.reason;
      // After the last one the story may be over.
      assert.ok(run.value.wasCut || run.value.messages.length <= at + 1);
    });
});
