import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PortClaim } from "../../src/store/tables.ts";
import { type Commit, type Store, StoreError } from "../../src/store/store.ts";
import { calmTime } from "../support/until.ts";

export const claim = (hostPort: number, endpointId = "e1"): PortClaim => ({
  protocol: "tcp",
  hostIp: "0.0.0.0",
  hostPort,
  endpointId,
});
const key = (port: number) => `tcp|0.0.0.0|${port}`;

/** What every store must do. */
export function storeContract(name: string, open: () => Promise<Store>): void {
  describe(`store contract: ${name}`, () => {
    it("commits rows, and counts revisions", async () => {
      await using store = disposable(await open());
      const before = store.snapshot();
      const { revision } = await store.update((tx) => tx.insert("ports", claim(80)));
      assert.equal(revision, before.revision + 1);
      assert.deepEqual(store.snapshot().get("ports", key(80)), claim(80));
      assert.equal(before.get("ports", key(80)), undefined, "a snapshot never changes");
    });

    it("commits nothing when the change throws", async () => {
      await using store = disposable(await open());
      const { revision } = store.snapshot();
      await assert.rejects(
        store.update((tx) => {
          tx.insert("ports", claim(80));
          throw new Error("no");
        }),
        /^Error: no$/,
      );
      assert.deepEqual(store.snapshot().list("ports"), []);
      assert.equal(store.snapshot().revision, revision);
    });

    it("refuses a key that is taken, also by an update of the same moment", async () => {
      await using store = disposable(await open());
      const results = await Promise.allSettled([
        store.update((tx) => tx.insert("ports", claim(80, "a"))),
        store.update((tx) => tx.insert("ports", claim(80, "b"))),
      ]);
      assert.deepEqual(
        results.map((r) => r.status),
        ["fulfilled", "rejected"],
      );
      const { reason } = results[1] as PromiseRejectedResult;
      assert.ok(reason instanceof StoreError && reason.code === "EXISTS");
      assert.equal(store.snapshot().get("ports", key(80))?.endpointId, "a");
    });

    it("finds rows by index, in the order of keys, and forgets them with their rows", async () => {
      await using store = disposable(await open());
      await store.update((tx) => {
        for (const port of [82, 80, 81]) tx.insert("ports", claim(port, port === 81 ? "b" : "a"));
      });
      const ports = () =>
        store
          .snapshot()
          .where("ports", "endpoint", "a")
          .map((p) => p.hostPort);
      assert.deepEqual(ports(), [80, 82]);
      await store.update((tx) => {
        tx.delete("ports", key(80));
        tx.put("ports", claim(81, "a"));
      });
      assert.deepEqual(ports(), [81, 82]);
      assert.deepEqual(store.snapshot().where("ports", "endpoint", "b"), []);
      assert.deepEqual(
        store
          .snapshot()
          .list("ports")
          .map((p) => p.hostPort),
        [81, 82],
      );
    });

    it("changes nothing without a change", async () => {
      await using store = disposable(await open());
      const before = store.snapshot().revision;
      const { result, revision } = await store.update((tx) => {
        tx.delete("ports", "not there");
        return 7;
      });
      assert.deepEqual([result, revision], [7, before]);
      await store.update((tx) => tx.insert("ports", claim(80)));
      const same = await store.update((tx) => {
        tx.put("ports", claim(80, "other"));
        tx.put("ports", claim(80));
        tx.insert("ports", claim(81));
        tx.delete("ports", key(81));
      });
      assert.equal(same.revision, before + 1, "what is as it was is no change");
    });

    it("lets a change see what it made so far, and nobody else before it is committed", async () => {
      await using store = disposable(await open());
      const before = store.snapshot().revision;
      const updating = store.update((tx) => {
        tx.insert("ports", claim(80));
        assert.deepEqual(tx.get("ports", key(80)), claim(80));
        assert.deepEqual(tx.where("ports", "number", "tcp|80"), [claim(80)]);
        assert.equal(store.snapshot().get("ports", key(80)), undefined);
      });
      assert.equal(store.snapshot().get("ports", key(80)), undefined, "not durable yet");
      const reading = store.update((tx) => tx.list("ports").length);
      assert.equal(store.snapshot().revision, before);
      assert.equal((await reading).result, 1);
      assert.deepEqual(store.snapshot().list("ports"), [claim(80)], "who read it waited for it");
      await updating;
    });

    it("does not begin an update whose signal is aborted", async () => {
      await using store = disposable(await open());
      const reason = new Error("gone");
      const before = store.snapshot().revision;
      await assert.rejects(
        store.update((tx) => tx.insert("ports", claim(80)), AbortSignal.abort(reason)),
        reason,
      );
      assert.equal(store.snapshot().revision, before);
    });

    it("finds few rows among many without looking at all", async () => {
      await using store = disposable(await open());
      const many = 20_000;
      const some = 1000; // as many at a time: a store has seconds for each commit
      for (let first = 1; first <= many; first += some)
        await store.update((tx) => {
          for (let port = first; port < first + some; port++) tx.insert("ports", claim(port, `e${port % (many / 4)}`));
        });
      const rows = store.snapshot();
      const started = calmTime();
      for (let n = 0; n < 1000; n++) assert.equal(rows.where("ports", "endpoint", `e${n}`).length, 4);
      const took = calmTime() - started;
      assert.ok(took < 500, `1000 look-ups took ${took} ms`);
    });

    it("watches: the state first, then every commit, without a gap", async () => {
      await using store = disposable(await open());
      await store.update((tx) => tx.insert("ports", claim(1)));
      const end = new AbortController();
      const seen = new Set<string>();
      const commits: Commit[] = [];
      const watching = (async () => {
        for await (const commit of store.watch(end.signal)) {
          commits.push(commit);
          for (const { table, key: k } of commit.changed) seen.add(`${table}/${k}`);
          if (commit.snapshot.get("ports", key(50)) !== undefined) end.abort();
        }
      })();
      for (let port = 2; port <= 50; port++) await store.update((tx) => tx.insert("ports", claim(port)));
      await watching;
      assert.deepEqual(commits[0]?.changed, [{ table: "ports", key: key(1) }]);
      assert.equal(seen.size, 50);
    });

    it("serves nothing after close", async () => {
      const store = await open();
      const watching = (async () => {
        for await (const commit of store.watch(new AbortController().signal)) assert.deepEqual(commit.changed, []);
      })();
      await store.update(() => {});
      await store.close();
      await watching;
      await assert.rejects(
        store.update((tx) => tx.insert("ports", claim(1))),
        { code: "CLOSED" },
      );
    });
  });
}

const disposable = (store: Store): Store & AsyncDisposable =>
  Object.assign(store, { [Symbol.asyncDispose]: () => store.close() });
