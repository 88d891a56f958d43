import assert from "node:assert/strict";
import { it } from "node:test";
import { create } from "@bufbuild/protobuf";
import type { ClusterNode } from "../model/cluster.ts";
import type { IpAddress } from "../model/ids.ts";
import type { ServicePort } from "../model/service.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { DescriptionSchema } from "./gen/control_pb.ts";
import { addressesToTell, checkPublishAddress, mostAddresses } from "./host-addresses.ts";
import { description, newNode } from "./testing.ts";
import { descriptionFromWire, descriptionToWire } from "./calls/wire.ts";

const many = (count: number) => Array.from({ length: count }, (_, at) => `10.0.${at >> 8}.${at & 255}`);

it("a host tells its addresses, each once, and nothing when they are too many", () => {
  const told = (addresses: readonly string[]) => addressesToTell(addresses.map((address) => ({ address })));
  assert.deepEqual(told(["fd00::1", "127.0.0.1", "192.0.2.1", "::1", "192.0.2.1"]), ["192.0.2.1", "fd00::1"]);
  assert.deepEqual([told(many(mostAddresses)).length, told(many(mostAddresses + 1))], [mostAddresses, []]);
});

it("addresses on the wire are few, and addresses", () => {
  const read = (hostAddresses: readonly IpAddress[]) =>
    descriptionFromWire(create(DescriptionSchema, descriptionToWire({ ...description, hostAddresses })));
  assert.deepEqual(read(["192.0.2.1", "fd00::1"]).hostAddresses, ["192.0.2.1", "fd00::1"]);
  assert.ok(!Object.hasOwn(read([]), "hostAddresses"));
  for (const bad of ["h1", "0.0.0.0", "FD00::1", "fe80::1%eth0"])
    assert.throws(() => read([bad]), /addresses are malformed/, bad);
  assert.throws(() => read(many(mostAddresses + 1)), /addresses are malformed/);
});

it("ports are published at an address that some node has, or may have", async () => {
  const rows = async (...nodes: Partial<ClusterNode>[]) => {
    const store = createMemoryStore();
    await store.update((tx) => {
      for (const [at, node] of nodes.entries()) tx.insert("nodes", newNode({ id: `n${at}`, ...node }));
    });
    return store.snapshot();
  };
  const at = (address?: IpAddress, target = 80): ServicePort => ({
    ...{ name: "", protocol: "tcp", target, published: target, mode: "ingress" },
    ...(address !== undefined && { address }),
  });
  const down = { state: "down", message: "", address: "" } as const;
  const two = await rows({ hostAddresses: ["192.0.2.1"] }, { hostAddresses: ["192.0.2.2", "fd00::2"], status: down });
  for (const address of ["192.0.2.1", "fd00::2", "127.0.0.1", undefined]) checkPublishAddress(two, [at(address)]);
  const message = "label tombolo.publish-address: no node of the swarm has the address 192.0.2.9";
  const gone = at("192.0.2.9");
  assert.throws(() => checkPublishAddress(two, [gone]), { class: "invalid", message });
  assert.throws(() => checkPublishAddress(two, [gone], [at("192.0.2.1"), at()]), { message });
  checkPublishAddress(two, [gone, at("192.0.2.9", 81)], [gone]);
  checkPublishAddress(await rows({ hostAddresses: ["192.0.2.1"] }, {}), [gone]);
});
