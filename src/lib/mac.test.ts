import assert from "node:assert/strict";
import { it } from "node:test";
import { ingressMac, ingressMacPrefix, localMac } from "./mac.ts";

it("MACs are one host's, local, and their holder's; those of ingress sandboxes are known by their beginning", () => {
  const identities = Array.from({ length: 50_000 }, (_, n) => `n${n}`);
  const macs = identities.map(localMac);
  assert.ok(macs.every((mac) => /^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/.test(mac) && !mac.startsWith(ingressMacPrefix)));
  assert.equal(new Set(macs).size, macs.length);
  assert.equal(localMac("n7"), macs[7]);
  for (const mac of identities.slice(0, 1000).map(ingressMac)) assert.match(mac, /^02:54(:[0-9a-f]{2}){4}$/);
});
