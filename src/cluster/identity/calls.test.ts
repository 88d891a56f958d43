import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Join, Manager, Node } from "../gen/control_pb.ts";
import { allowed, type CallName, check } from "./calls.ts";
import { newSwarmId } from "./names.ts";
import { clusterId } from "./testing.ts";

const peer = (role: "worker" | "manager") => ({ nodeId: newSwarmId(), role, clusterId });
const peers = { nobody: undefined, worker: peer("worker"), manager: peer("manager") } as const;
const kept = () => false;

describe("who may call what", () => {
  for (const call of Object.keys(allowed) as CallName[])
    for (const caller of ["nobody", "worker", "manager"] as const)
      it(`${call} as ${caller}: ${allowed[call].includes(caller) ? "yes" : "no"}`, () => {
        const attempt = () => check(call, peers[caller], kept);
        if (allowed[call].includes(caller)) attempt();
        else assert.throws(attempt, { class: caller === "nobody" ? "unauthorized" : "forbidden" });
      });

  it("the table has the calls of the protocol, and no others", () => {
    const calls = [Join, Node, Manager].flatMap(({ method }) => Object.keys(method));
    assert.deepEqual(Object.keys(allowed).toSorted(), calls.toSorted());
  });

  it("without a certificate there are three calls", () => {
    const open = Object.entries(allowed).filter(([, callers]) => callers.includes("nobody"));
    assert.deepEqual(
      open.map(([call]) => call),
      ["getRootCertificate", "issueCertificate", "certificateStatus"],
    );
  });

  it("a removed node may do nothing, not even what nobody may", () => {
    for (const call of Object.keys(allowed))
      for (const { nodeId, ...rest } of [peers.worker, peers.manager])
        assert.throws(() => check(call, { nodeId, ...rest }, (id) => id === nodeId), { class: "forbidden" });
  });

  it("what is not in the table is denied to all", () => {
    for (const call of ["", "Session", "reboot", "toString", "constructor", "__proto__", "hasOwnProperty"])
      for (const one of Object.values(peers))
        assert.throws(() => check(call, one, kept), { class: one === undefined ? "unauthorized" : "forbidden" });
  });
});
