import assert from "node:assert/strict";
import { it } from "node:test";
import { node, onMachine } from "../support/machine.ts";

it("make run and make stop: nothing is left; beside somebody else's docker0 another bridge is taken, with data from before", () => {
  const text = onMachine(`
${node} tools/run.ts
${node} tools/stop.ts
echo "== stopped"
ip -o link | grep -E 'docker0|br-|veth' || true
nft list tables
grep /run/tombolo/ /proc/self/mounts || true
ps ax -o comm= | grep -E 'node|containerd' || true
echo "== again"
ip link add docker0 type bridge
ip link set docker0 alias tombolo:0123456789ab:network:x
${node} tools/run.ts
ip -o link show master docker0
ip -o -4 address show tombolo0
nft add rule ip tombolo DOCKER-USER counter
${node} tools/stop.ts
ip -o link show docker0`);
  const [tour = "", stopped = "", again = ""] = text.split(/== .*\n/);
  assert.match(tour, /^0 differences$/m);
  assert.equal(stopped, "");
  assert.match(again, /the default bridge is tombolo0/);
  assert.match(again, /^0 differences$/m);
  assert.match(again, /tombolo0 +inet 172\.31\.0\.1\/16/);
  assert.match(again, /table ip tombolo stays: DOCKER-USER has rules of your own\n\d+: docker0: /);
});
