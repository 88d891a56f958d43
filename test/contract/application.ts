import assert from "node:assert/strict";
import { it } from "node:test";
import { audit, readSysctl } from "../../src/dataplane/audit.ts";
import { baseText } from "../../src/dataplane/base.ts";
import { Believed } from "../../src/dataplane/believed.ts";
import { diff } from "../../src/dataplane/diff.ts";
import { execute } from "../../src/dataplane/execute.ts";
import type { OwnedStep } from "../../src/dataplane/order.ts";
import { createFakeKernel, type FakeKernel } from "../../src/kernel/fake/fake-kernel.ts";
import { type Kernel, KernelError } from "../../src/kernel/kernel.ts";
import type { LinkObject, Owner, PlanObject } from "../../src/model/plan.ts";

export type Plans = ReadonlyMap<Owner, readonly PlanObject[]>;
const nothing: Plans = new Map();

/**
 * What a kernel makes of plans: the data plane's own comparison and order, and the fake kernel's refusals.
 * @param there links of the host that somebody else made
 */
export function describeApplication(plans: Plans, there: readonly LinkObject[] = []): void {
  it("is taken by a kernel, and applying it twice changes nothing the second time", () => {
    const kernel = open(there);
    assert.deepEqual(round(kernel, plans).failed, new Map());
    assertHolds(kernel, plans);
    assert.deepEqual(round(kernel, plans).steps, []);
  });

  it("leaves the kernel as it was found when nobody wants it any more", () => {
    const kernel = open(there);
    const found = contents(kernel);
    round(kernel, plans);
    assert.deepEqual(round(kernel, nothing).failed, new Map());
    assert.deepEqual(contents(kernel), found);
  });

  it("is made in a second round after a refusal of any step", () => {
    const { steps } = round(open(there), plans);
    for (const at of steps.keys()) {
      const kernel = open(there);
      assert.notEqual(round(refusing(kernel, at), plans).failed.size, 0, `step ${at}`);
      assert.deepEqual(round(kernel, plans).failed, new Map(), `after a refusal of step ${at}`);
      assertHolds(kernel, plans);
    }
  });

  it("is removed in a second round after a refusal of any step", () => {
    const found = contents(open(there));
    const made = open(there);
    round(made, plans);
    const { steps } = round(made, nothing);
    for (const at of steps.keys()) {
      const kernel = open(there);
      round(kernel, plans);
      assert.notEqual(round(refusing(kernel, at), nothing).failed.size, 0, `step ${at}`);
      assert.deepEqual(round(kernel, nothing).failed, new Map(), `after a refusal of step ${at}`);
      assert.deepEqual(contents(kernel), found, `after a refusal of step ${at}`);
    }
  });
}

function open(there: readonly LinkObject[]): FakeKernel {
  const kernel = createFakeKernel();
  kernel.ensureBase(baseText);
  for (const link of there) kernel.disturb(link);
  return kernel;
}

/** Who has what. Not its value: a link that was there carries the wish in the fake kernel. No sysctls: nobody gives them back. */
const contents = (kernel: FakeKernel) =>
  [...kernel.state]
    .filter(([, { object }]) => object.kind !== "sysctl")
    .map(([key, { owner }]) => `${key} ${owner ?? "somebody else"}`)
    .toSorted();

const assertHolds = (kernel: Kernel, plans: Plans) =>
  assert.deepEqual(
    audit(
      kernel,
      [...plans].map(([owner, objects]) => ({ owner, objects })),
    ),
    [],
  );

/** One round of a data plane that has just started and knows nothing: it reads, compares, and applies what differs. */
function round(
  kernel: Kernel,
  plans: Plans,
): { readonly steps: readonly OwnedStep[]; readonly failed: Map<Owner, Error> } {
  const believed = new Believed();
  believed.readAll(kernel);
  const left = believed.owners().map((owner) => [owner, []] as const);
  for (const [owner, objects] of plans)
    for (const object of objects) {
      const found = object.kind === "sysctl" ? readSysctl(kernel, object) : undefined;
      if (found !== undefined) believed.set(owner, found);
    }
  const { steps } = diff(new Map<Owner, readonly PlanObject[]>([...left, ...plans]), believed);
  return { steps, failed: execute(kernel, believed, steps) };
}

/** A kernel that refuses one step: the first one is number 0. */
function refusing(kernel: Kernel, at: number): Kernel {
  let left = at;
  return {
    ...kernel,
    apply(steps) {
      const here = left;
      left -= steps.length;
      if (here < 0 || here >= steps.length) return kernel.apply(steps);
      kernel.apply(steps.slice(0, here));
      left = -1;
      throw Object.assign(new KernelError("ENOMEM", "Cannot allocate memory"), { step: here });
    },
  };
}
