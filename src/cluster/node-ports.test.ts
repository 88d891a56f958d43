import assert from "node:assert/strict";
import { it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { endpointRow, networkRows } from "../../test/support/rows.ts";
import type { TakenPort } from "../model/cluster.ts";
import type { Container } from "../model/container.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { DescriptionSchema } from "./gen/control_pb.ts";
import { mostPorts, portsToTell } from "./node-ports.ts";
import { description } from "./testing.ts";
import { descriptionFromWire, descriptionToWire } from "./calls/wire.ts";

it("a host tells where its programs wait, and what its containers have published, but services' tasks", async () => {
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
  const waiting = [
    { protocol: "tcp", address: "::", port: 22 },
    { protocol: "udp", address: "0.0.0.0", port: 53 },
    { protocol: "udp", address: "0.0.0.0", port: 40_000 },
    { protocol: "tcp", address: "127.0.0.1", port: 40_000 },
    { protocol: "tcp", address: "127.0.0.1", port: 8080 },
  ] as const;
  const [ssh, dns, , high] = waiting;
  const container = { protocol: "tcp", address: "127.0.0.1", port: 8080, container: own.containerName };
  assert.deepEqual(portsToTell(store.snapshot(), waiting, [32_768, 60_999]), [ssh, dns, container, high]);
  await store.close();
});

it("ports on the wire are few, and ports", () => {
  const read = (takenPorts: readonly TakenPort[]) =>
    descriptionFromWire(create(DescriptionSchema, descriptionToWire({ ...description, takenPorts })));
  const port = { protocol: "udp", address: "::", port: 53, container: "a.b-c_1" };
  const { container: _, ...program } = port;
  assert.deepEqual(read([port, program]).takenPorts, [port, program]);
  assert.ok(!Object.hasOwn(read([]), "takenPorts"));
  const bad = [{ protocol: "icmp" }, { address: "h1" }, { port: 0 }, { port: 65_536 }, { container: "a b" }];
  for (const change of [...bad, { container: "a".repeat(256) }])
    assert.throws(() => read([{ ...port, ...change }]), /ports are malformed/, JSON.stringify(change));
  assert.throws(() => read(Array.from({ length: mostPorts + 1 }, () => port)), /ports are malformed/);
});
