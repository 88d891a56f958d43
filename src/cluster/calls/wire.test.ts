import assert from "node:assert/strict";
import { it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { DescriptionSchema } from "../gen/control_pb.ts";
import { description } from "../testing.ts";
import { descriptionFromWire, descriptionToWire } from "./wire.ts";

const over = (wish: Partial<typeof description>) =>
  descriptionFromWire(create(DescriptionSchema, descriptionToWire({ ...description, ...wish })));

it("a node's description arrives as it was, its engine's labels too", () => {
  const wish = { engineLabels: { disk: "ssd", "com.example.rack": "" } };
  assert.deepEqual(over(wish), { ...description, ...wish });
});

it("labels are bounded: they go into a row that every manager reads", () => {
  const many = Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`l${n}`, ""]));
  for (const engineLabels of [many, { a: "x".repeat(256) }, { "a\n": "" }])
    assert.throws(() => over({ engineLabels }), /a node's description is malformed/);
});
