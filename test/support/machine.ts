import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");

/**
 * Runs a script on a machine of its own, with the default paths empty: no process, mount or link of it outlives the script.
 * @returns what it printed
 */
export function onMachine(script: string): string {
  const places = ["/run", "/var/lib", "/var/log"].map((path) => `mount -t tmpfs none ${path}`);
  // Somebody else's namespaces are not to be kept alive from here.
  const unpin = "for pin in $(awk '/ - nsfs / { print $5 }' /proc/self/mountinfo); do umount -l $pin || true; done";
  const lines = ["set -e", "mount --make-rprivate /", unpin, ...places, "ip link set lo up", script];
  const { status, stdout, stderr } = spawnSync(
    "unshare",
    ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", lines.join("\n")],
    { encoding: "utf8", cwd: root, timeout: 240_000 },
  );
  assert.equal(status, 0, `${stdout}${stderr}`);
  return stdout;
}
export const node = join(root, "node_modules/.bin/node");
