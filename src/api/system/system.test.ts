import assert from "node:assert/strict";
import { test } from "node:test";
import type { Container } from "../../model/container.ts";
import type { Image } from "../../runtime/runtime.ts";
import { readCreateBody } from "../containers/wire.ts";
import { outside, serve } from "../testing.ts";
import { detail } from "./testing.ts";

const system = {
  info: async () => detail,
  audit: async () => [{ where: "kernel", what: "missing", key: "k" } as const],
};

test("info has what clients print", async () => {
  await using server = await serve({ system });
  const { json } = await server.ask("GET", "/info");
  assert.deepEqual(
    [json.ID, json.Name, json.ServerVersion, json.Containers, json.ContainersRunning, json.Images, json.NCPU],
    ["u-u-i-d", "shore", "0.1.0", 4, 2, 3, 2],
  );
  assert.deepEqual(json.Plugins.Network, ["bridge", "host", "null"]);
  assert.equal(json.Swarm.LocalNodeState, "inactive");
  assert.deepEqual(json.DefaultAddressPools, [{ Base: "172.17.0.0/12", Size: 20 }]);
  assert.deepEqual(json.Warnings, ["mind this"]);
  assert.deepEqual(json.RegistryConfig.InsecureRegistryCIDRs, ["::1/128", "127.0.0.0/8", "10.0.0.0/8"]);
  assert.equal(json.RegistryConfig.IndexConfigs["reg:5000"].Secure, false);
  assert.deepEqual(json.ContainerdCommit, { ID: "c0" });
  assert.deepEqual((await server.ask("GET", "/v1.48/info")).json.ContainerdCommit, { ID: "c0", Expected: "c0" });
});

test("version names the parts", async () => {
  await using server = await serve({ system });
  const { json } = await server.ask("GET", "/version");
  assert.deepEqual([json.Version, json.ApiVersion, json.MinAPIVersion, json.Os], ["0.1.0", "1.50", "1.24", "linux"]);
  assert.deepEqual(
    json.Components.map((c: { Name: string; Version: string }) => `${c.Name} ${c.Version}`),
    ["Engine 0.1.0", "containerd 1.6.20", "runc 1.1.5"],
  );
});

/** An image with the sizes of its layers. */
function picture(id: string, layers: Readonly<Record<string, number>>): Image {
  const sizes = Object.values(layers);
  return {
    ...{ id, tags: [], digests: [], createdAt: "", author: "", comment: "", architecture: "", os: "linux" },
    ...{ size: sizes.reduce((sum, size) => sum + size, 0), config: {}, history: [] },
    ...{ layers: Object.keys(layers), layerSizes: sizes },
  };
}

test("disk usage tells what images share, so that clients know what cannot be reclaimed", async () => {
  const list = async () => [picture("i", { a: 7, b: 5 }), picture("j", { a: 7, c: 3 }), picture("k", { b: 9 })];
  const { request } = readCreateBody({ Image: "i" }, { name: "", platform: "", version: 50, mountsOfOthers: [] });
  const container = { ...request, id: "c", createdAt: "", state: { status: "created" } } as never as Container;
  const own = { ...container, spec: { ...container.spec, imageId: "i" } };
  const detail = { container: own, networks: [], ports: [] } as never;
  const engine = { images: { list }, containers: { list: async () => [detail] }, volumes: { list: () => [] } };
  await using server = await serve(engine);
  const { json } = await server.ask("GET", "/system/df");
  assert.equal(json.LayersSize, 7 + 5 + 3 + 9);
  assert.deepEqual(
    json.Images.map((i: Record<string, number>) => [i.Id, i.Containers, i.Size, i.SharedSize]),
    [
      ["i", 1, 12, 7],
      ["j", 0, 10, 7],
      ["k", 0, 9, 0],
    ],
  );
});

test("audit and disk usage", async () => {
  const volume = { name: "v", labels: {}, options: {}, anonymous: false, createdAt: "t" };
  const engine = {
    system,
    images: { list: async () => [picture("i", { a: 7 })] },
    containers: { list: async () => [] },
    volumes: { list: () => [{ volume, mountpoint: "/m", users: ["a", "b"] }] },
  };
  await using server = await serve(engine);
  assert.deepEqual((await server.ask("GET", "/tombolo/audit")).json, await system.audit());
  const { json } = await server.ask("GET", "/system/df");
  assert.deepEqual([json.LayersSize, json.Images.length, json.Containers, json.BuildCache], [7, 1, [], []]);
  assert.deepEqual(json.Volumes[0].UsageData, { RefCount: 2, Size: -1 });
  assert.equal((await server.ask("GET", "/system/df?type=volume")).json.Images, null);
});

test("info and ping tell where a node stands in its swarm", async () => {
  const standing = { ...outside, nodeId: "me", nodeAddress: "192.0.2.7" };
  const managers = [{ nodeId: "m1", address: "192.0.2.1:2377" }];
  const states = {
    inactive: outside,
    pending: { ...standing, state: "pending", error: "joining" },
    error: { ...standing, state: "error", error: "certificates have expired" },
    locked: { ...outside, state: "locked" },
    "active/worker": { ...standing, state: "active", managers },
    "active/manager": { ...standing, state: "active", managers, controlAvailable: true },
  } as const;
  for (const [header, standing] of Object.entries(states)) {
    await using server = await serve({ system, swarm: { standing: () => standing } });
    for (const method of ["GET", "HEAD"]) assert.equal((await server.ask(method, "/_ping")).headers.swarm, header);
    const { Swarm } = (await server.ask("GET", "/info")).json;
    const expected = {
      NodeID: standing.nodeId,
      NodeAddr: standing.nodeAddress,
      LocalNodeState: standing.state,
      ControlAvailable: standing.controlAvailable,
      Error: standing.error,
      RemoteManagers: standing.managers.length > 0 ? [{ NodeID: "m1", Addr: "192.0.2.1:2377" }] : null,
    };
    assert.equal(JSON.stringify(Swarm), JSON.stringify(expected));
  }
});

test("what is not supported says so", async () => {
  await using server = await serve({});
  const say = async (method: string, path: string) => {
    const { status, json } = await server.ask(method, path);
    return `${status} ${json.message}`;
  };
  for (const path of ["/build", "/session", "/grpc", "/commit", "/plugins/pull"])
    assert.match(await say("POST", path), /^501 .{20}/);
  assert.match(await say("GET", "/images/search?term=x"), /^501 .{20}/);
  assert.equal(await say("GET", "/plugins/x/json"), '404 plugin "x" not found');
  assert.deepEqual((await server.ask("GET", "/plugins")).json, []);
  assert.deepEqual((await server.ask("POST", "/build/prune")).json, { CachesDeleted: null, SpaceReclaimed: 0 });
});
