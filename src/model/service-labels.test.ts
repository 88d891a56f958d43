import assert from "node:assert/strict";
import { test } from "node:test";
import { readServiceLabels } from "./service-labels.ts";

test("labels say how a service is balanced and how it ends", () => {
  const usual = { balance: { by: "rr", local: false }, keepsClient: true, drain: 2000 };
  assert.deepEqual(readServiceLabels({ a: "b" }), usual);
  const all = {
    "tombolo.lb": "local, source",
    "tombolo.mesh": "snat",
    "tombolo.drain": "0",
    "tombolo.idle": "15m",
    "tombolo.publish-address": "FD00:0::1",
  };
  const balance = { by: "source", local: true };
  assert.deepEqual(readServiceLabels(all), {
    balance,
    keepsClient: false,
    drain: 0,
    idle: 900_000,
    address: "fd00::1",
  });
  assert.deepEqual(readServiceLabels({ "tombolo.lb": "local" }).balance, { by: "rr", local: true });
});

test("what nobody understands is refused by the label's name", () => {
  const cases = {
    "tombolo.loadbalancer": "rr",
    "tombolo.lb": "fastest",
    "tombolo.mesh": "dsr",
    "tombolo.drain": "10",
    "tombolo.idle": "25h",
    "tombolo.publish-address": "eth0",
  };
  assert.throws(() => readServiceLabels({ "tombolo.lb": "least", "tombolo.idle": "15m" }), {
    class: "invalid",
    message: /^label tombolo\.idle: /,
  });
  for (const address of ["0.0.0.0", "::", "fe80::1%eth0"])
    assert.throws(() => readServiceLabels({ "tombolo.publish-address": address }), {
      class: "invalid",
      message: `label tombolo.publish-address: "${address}" is no address of a host`,
    });
  assert.throws(() => readServiceLabels({ "tombolo.publish-address": "0::1" }), /nothing is published at ::1$/);
  for (const [key, value] of Object.entries(cases))
    assert.throws(() => readServiceLabels({ [key]: value }), {
      class: "invalid",
      message: new RegExp(`^label ${key}`),
    });
});
