import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { it } from "node:test";

const root = resolve(import.meta.dirname, "../..");

/** A machine of its own for the daemon's default paths: no process, mount or link of it outlives the script. */
function onMachine(script: string): string {
  const places = ["/run", "/var/lib", "/var/log"].map((path) => `mount -t tmpfs none ${path}`);
  const lines = ["set -e", "mount --make-rprivate /", ...places, "ip link set lo up", script];
  const { status, stdout, stderr } = spawnSync(
    "unshare",
    ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", lines.join("\n")],
    { encoding: "utf8", cwd: root, timeout: 120_000 },
  );
  assert.equal(status, 0, `${stdout}${stderr}`);
  return stdout;
}
const node = join(root, "node_modules/.bin/node");

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
