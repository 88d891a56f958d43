import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import type { Kernel } from "../kernel/kernel.ts";
import { encryptedUnderlay } from "../model/plan.ts";
import type { Encryptor } from "../model/wireguard.ts";

const again = 60_000; // milliseconds until a kernel without WireGuard is asked once more: each time it looks for the module
const program = "wireguard-go";

/**
 * @param links that keys are used with: what runs for one goes on when it is not installed any more
 * @returns what says what encrypted networks go through on this host, or would
 */
export function encryptorOf(kernel: Pick<Kernel, "hasWireguard" | "link">, links: readonly string[]): () => Encryptor {
  let has = false;
  let asked = Number.NEGATIVE_INFINITY;
  return () => {
    if (!has && performance.now() - asked > again) [has, asked] = [kernel.hasWireguard(), performance.now()];
    if (has) return "kernel";
    if (links.some((link) => kernel.link(encryptedUnderlay, link)?.type === "tun")) return "wireguard-go";
    return isThere("/dev/net/tun", constants.R_OK) && isInstalled() ? "wireguard-go" : "none";
  };
}

const isInstalled = () =>
  (process.env.PATH ?? "").split(delimiter).some((directory) => isThere(join(directory, program), constants.X_OK));

function isThere(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}
