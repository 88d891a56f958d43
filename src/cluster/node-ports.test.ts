import assert from "node:assert/strict";
import { it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { endpointRow, networkRows } from "../../test/support/rows.ts";
import type { PublishedPort } from "../model/cluster.ts";
import type { Container } from "../model/container.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { DescriptionSchema } from "./gen/control_pb.ts";
import { mostPorts, portsToTell } from "./node-ports.ts";
import { description } from "./testing.ts";
import { descriptionFromWire, descriptionToWire } from "./wire.ts";

it("a host tells what its containers have published, but services' tasks", async () => {
  const store = createMemoryStore();
  const rows = networkRows({ number: 1 });
  const [own, task] = [endpointRow(rows, { member: 2 }), endpointRow(rows, { member: 3 })];
  await store.update((tx) => {
    for (const endpoint of [own, task]) tx.insert("endpoints", endpoint);
    tx.insert("containers", { id: own.containerId } as Container);
    tx.insert("containers", { id: task.containerId, taskId: "t" } as Container);
    const claim = { protocol: "tcp", hostIp: "127.0.0.1" };
    tx.insert("ports", { ...claim, hostPort: 8080, endpointId: own.id });
    tx.insert("ports", { ...claim, hostPort: 8081, endpointId: task.id });
    tx.insert("ports", { ...claim, hostPort: 8082, endpointId: "gone" });
  });
  const told = portsToTell(store.snapshot());
  assert.deepEqual(told, [{ protocol: "tcp", address: "127.0.0.1", port: 8080, container: own.containerName }]);
  await store.close();
});

it("published ports on the wire are few, and ports", () => {
  const read = (published: readonly PublishedPort[]) =>
    descriptionFromWire(create(DescriptionSchema, descriptionToWire({ ...description, published })));
  const port = { protocol: "udp", address: "::", port: 53, container: "a.b-c_1" };
  assert.deepEqual(read([port]).published, [port]);
  assert.ok(!Object.hasOwn(read([]), "published"));
  const bad = [{ protocol: "icmp" }, { address: "h1" }, { port: 0 }, { port: 65_536 }, { container: "" }];
  for (const change of [...bad, { container: "a b" }, { container: "a".repeat(256) }])
    assert.throws(() => read([{ ...port, ...change }]), /published ports are malformed/, JSON.stringify(change));
  assert.throws(() => read(Array.from({ length: mostPorts + 1 }, () => port)), /published ports are malformed/);
});
