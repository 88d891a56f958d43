import assert from "node:assert/strict";
import { it } from "node:test";
import { SharedValues } from "./shared-values.ts";

it("changes nothing that can be seen, however many strings there are", () => {
  const shared = new SharedValues();
  for (let number = 0; number < 50_000; number += 1) {
    const text = JSON.stringify({
      id: `an id of its own: ${number}`,
      network: `a network of many: ${number % 7}`,
      names: [`web.${number}`, `a network of many: ${number % 7}`],
      labels: {
        [`a label of its own: ${number}`]: "the same for all",
        short: "a",
        none: null,
        yes: true,
        count: number,
      },
      nothing: [{}, [], ""],
    });
    assert.equal(JSON.stringify(shared.of(JSON.parse(text))), text);
  }
  assert.equal(shared.of("alone"), "alone");
});

it("keeps what is empty once", () => {
  const shared = new SharedValues();
  const [one, other] = [shared.of({ ports: [], labels: {} }), shared.of({ ports: [], labels: {} })] as [
    Record<string, unknown>,
    Record<string, unknown>,
  ];
  assert.equal(one["ports"], other["ports"]);
  assert.equal(one["labels"], other["labels"]);
  assert.deepEqual(one, { ports: [], labels: {} });
});
