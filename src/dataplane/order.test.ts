import assert from "node:assert/strict";
import { it } from "node:test";
import { planEndpoint, planNetwork } from "../drivers/bridge/plan.ts";
import { readOptions } from "../drivers/bridge/options.ts";
import type { Owner, PlanObject } from "../model/plan.ts";
import { endpointRow, networkRows, sandboxRow } from "../../test/support/rows.ts";
import { applyOrder, inOrder, type OwnedStep, removeOrder } from "./order.ts";

const rows = networkRows({ number: 1, ipv6: true });
const endpoint = endpointRow(rows, { member: 2, sysctls: { "net.ipv4.conf.eth0.log_martians": "1" } });
const options = readOptions(rows.network.spec);
const namespace = `sandbox:${endpoint.sandboxId}` as const;
const plans: readonly (readonly [Owner, readonly PlanObject[]])[] = [
  [`endpoint:${endpoint.id}`, planEndpoint({ ...rows, endpoint, sandbox: sandboxRow(2, endpoint) }, options)],
  [`network:${rows.network.id}`, planNetwork(rows, options)],
  [
    namespace,
    [
      { kind: "namespace", namespace },
      { kind: "sysctl", namespace, key: "net.ipv4.ip_forward", value: "1" },
    ],
  ],
];
const steps = (verb: "create" | "remove") =>
  plans.flatMap(([owner, objects]) => objects.map((object): OwnedStep => ({ verb, object, owner })));
const places = (ordered: readonly OwnedStep[]) => {
  const kinds = ordered.map(({ verb, object }) => `${verb} ${object.kind === "link" ? object.type : object.kind}`);
  return kinds.filter((kind, at) => kind !== kinds[at - 1]);
};

it("makes things in the order of their need", () =>
  assert.deepEqual(places(inOrder(steps("create"))), [
    "create namespace",
    "create sysctl",
    "create chain", // what guards ports is there before them
    "create element",
    "create bridge",
    "create veth",
    "create sysctl",
    "create address",
    "create route",
    "create neighbour",
    "create forwarding",
    "create chain",
    "create element",
  ]));

it("makes a tunnel between its bridge and its entries, and removes it before its namespace", () => {
  const network = "network:1";
  const owner = network as Owner;
  const sysctl = (key: string): PlanObject => ({ kind: "sysctl", namespace: network, key, value: "1" });
  const entry: PlanObject = { kind: "tunnel", namespace: network, link: "vx", mac: "", destination: "" };
  const objects: PlanObject[] = [
    sysctl("net.ipv4.conf.br0.forwarding"),
    entry,
    { kind: "link", type: "vxlan", namespace: network, name: "vx", vni: 1, udpPort: 1, local: "" },
    sysctl("net.ipv6.conf.default.disable_ipv6"),
    { kind: "link", type: "bridge", namespace: network, name: "br0" },
    { kind: "namespace", namespace: network },
  ];
  const ordered = (verb: "create" | "remove") =>
    places(inOrder(objects.map((object): OwnedStep => ({ verb, object, owner }))));
  assert.deepEqual(ordered("create"), [
    "create namespace",
    "create sysctl",
    "create bridge",
    "create vxlan",
    "create sysctl",
    "create tunnel",
  ]);
  assert.deepEqual(ordered("remove").slice(0, 3), ["remove vxlan", "remove bridge", "remove namespace"]);
});

it("removes before it makes, rules first", () => {
  const ordered = places(inOrder([...steps("create"), ...steps("remove")]));
  assert.deepEqual(ordered.slice(0, 5), [
    "remove element",
    "remove chain",
    "remove veth",
    "remove bridge",
    "remove namespace",
  ]);
  assert.ok(ordered.lastIndexOf("remove sysctl") < ordered.indexOf("create namespace"));
});

it("closes the port of tunnels before it makes one, and opens it when the last is gone", () => {
  const port: OwnedStep = {
    verb: "create",
    owner: "host",
    object: { kind: "element", namespace: "host", family: "ip", set: "tunnel_ports", key: "4789" },
  };
  const tunnel: OwnedStep = {
    verb: "create",
    owner: "network:1",
    object: {
      kind: "link",
      type: "vxlan",
      namespace: "network:1",
      name: "vxlan0",
      vni: 4097,
      udpPort: 4789,
      local: "192.0.2.1",
    },
  };
  assert.deepEqual(places(inOrder([tunnel, port])), ["create element", "create vxlan"]);
  const gone = [port, tunnel].map(({ object, owner }): OwnedStep => ({ verb: "remove", object, owner }));
  assert.deepEqual(places(inOrder(gone)), ["remove vxlan", "remove element"]);
});

it("has IPVS ready before a packet is marked for it, and as long as one is; a sandbox's rules stay one transaction", () => {
  const place = { namespace: "sandbox:1", family: "ip", mark: 7 } as const;
  const objects: PlanObject[] = [
    { kind: "element", namespace: "sandbox:1", family: "ip", set: "marks", key: "10.0.0.9", value: "7" },
    { kind: "destination", ...place, address: "10.0.0.2" },
    { kind: "ipvs", ...place, scheduler: "lc" },
  ];
  const all = (["remove", "create"] as const).flatMap((verb) =>
    objects.map((object): OwnedStep => ({ verb, object, owner: "service:1" })),
  );
  assert.deepEqual(places(inOrder(all)), [
    ...["create ipvs", "create destination", "remove element", "create element"],
    ...["remove destination", "remove ipvs"],
  ]);
});

it("has every place in both orders", () => assert.deepEqual(removeOrder.toSorted(), applyOrder.toSorted()));
