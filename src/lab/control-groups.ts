import { globSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Removes the control groups of containers that were killed with their host. They are the machine's: the kernel does not
 * end them with a namespace, and runc had no time to.
 */
export async function removeControlGroups(containers: readonly string[]): Promise<void> {
  const ids = new Set(containers);
  for (const parent of ids.size === 0 ? [] : globSync("/sys/fs/cgroup/{tombolo,*/tombolo}"))
    for (const id of readdirSync(parent)) if (ids.has(id)) await removeTree(join(parent, id));
}

/** The files of a control group go with its directory. */
async function removeTree(group: string): Promise<void> {
  for (const entry of readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory()) await removeTree(join(group, entry.name));
  for (let tries = 0; ; tries += 1)
    try {
      return rmdirSync(group);
    } catch (error) {
      // A process that has just ended may still be counted.
      if ((error as NodeJS.ErrnoException).code !== "EBUSY" || tries === 20) throw error;
      await sleep(50);
    }
}
