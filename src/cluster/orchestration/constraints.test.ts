import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseConstraints, satisfies } from "./constraints.ts";
import { readyNode } from "./testing.ts";

const node = readyNode("n1", {
  hostname: "Shop1",
  role: "manager",
  labels: { zone: "East", "com.example.rack": "r1" },
  engineLabels: { disk: "ssd" },
  platform: { os: "linux", architecture: "x86_64" },
  status: { state: "ready", message: "", address: "10.0.3.7" },
});

describe("constraints", () => {
  const holds: Readonly<Record<string, boolean>> = {
    "node.id==n1": true,
    "node.id == N1": true,
    "node.id!=n1": false,
    "node.hostname==shop1": true,
    "node.hostname!=shop2": true,
    "NODE.ROLE==Manager": true,
    "node.role!=worker": true,
    "node.platform.os==linux": true,
    "node.platform.arch==x86_64": true,
    "node.platform.arch==amd64": false,
    "node.labels.zone==east": true,
    "node.labels.zone!=west": true,
    "node.labels.Zone==east": false, // labels have their own case
    "Node.Labels.zone==EAST": true,
    "node.labels.com.example.rack==r1": true,
    "node.labels.missing==x": false,
    "node.labels.missing!=x": true,
    "engine.labels.disk==ssd": true,
    "engine.labels.disk!=SSD": false,
    "node.ip==10.0.3.7": true,
    "node.ip==10.0.0.0/16": true,
    "node.ip!=10.0.0.0/24": true,
    "node.ip!=10.0.3.0/24": false,
    "node.ip==2001:db8::/32": false,
  };
  for (const [text, is] of Object.entries(holds))
    it(`${text}: ${is}`, () => assert.equal(satisfies(node, parseConstraints([text])), is));

  it("all must hold", () => {
    assert.ok(satisfies(node, parseConstraints(["node.role==manager", "node.labels.zone==east"])));
    assert.ok(!satisfies(node, parseConstraints(["node.role==manager", "node.labels.zone==west"])));
    assert.ok(satisfies(node, []));
  });

  const refused: Readonly<Record<string, string>> = {
    "node.role=manager": "constraint expected one operator from ==, !=",
    "node role==manager": "key 'node role' is invalid",
    "==manager": "key '' is invalid",
    "node.role==": "value '' is invalid",
    "node.labels.a==b=c": "value 'b=c' is invalid",
    "node.labels.==x": "key 'node.labels.' is unknown: ",
    "node.zone==east": "key 'node.zone' is unknown: node.id, node.hostname, ",
    "node.ip==nowhere": "value 'nowhere' is no address and no subnet",
  };
  for (const [text, reason] of Object.entries(refused))
    it(`${text} is refused`, () =>
      assert.throws(
        () => parseConstraints([text]),
        ({ message, class: kind }: { message: string; class: string }) =>
          kind === "invalid" && message.startsWith(`rpc error: code = InvalidArgument desc = ${reason}`),
      ));
});
