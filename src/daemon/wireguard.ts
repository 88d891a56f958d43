import { slotOf, wireguardPort } from "../cluster/encryption.ts";
import type { Dataplane } from "../dataplane/dataplane.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { NodeWireguard, PublicCluster } from "../model/cluster.ts";
import { encryptorOf } from "../wireguard/encryptor.ts";
import { HostKeys, type HostKeysParts } from "../wireguard/host-keys.ts";
import type { KeyWish } from "../wireguard/own-end.ts";
import { WireguardGo } from "../wireguard/wireguard-go.ts";
import type { Config } from "./config.ts";
import { engineMark } from "./files.ts";

export type Wireguard = ReturnType<typeof createWireguard>;

/** What looks after encrypted networks: this host's keys, and the program where the kernel has no WireGuard. */
export function createWireguard(
  parts: Pick<HostKeysParts, "store" | "log"> & { readonly kernel: Kernel; readonly dataplane: Dataplane },
  { execRoot }: Config,
  engine: string,
  changed: () => void,
) {
  // The longest names that Linux takes, and wireguard-go's in a directory that engines share.
  const links = [`twg${engineMark(engine)}`, `twh${engineMark(engine)}`] as const;
  const program = new WireguardGo({ ...parts, directory: execRoot, links });
  const keys = new HostKeys({ ...parts, ahead: (link, write) => program.ahead(link, write), changed });
  const encryptor = encryptorOf(parts.kernel, links);
  const wishOf = ({ id, dataPathPort, keyRotation }: PublicCluster): KeyWish => {
    const { generation, isKnown } = keyRotation ?? { generation: 1, isKnown: false };
    const udpPort = wireguardPort(dataPathPort, generation);
    return { cluster: id, generation, isKnown, link: links[slotOf(generation)], udpPort };
  };
  return {
    keys,
    said: (): NodeWireguard => ({ by: encryptor(), ...keys.said }),
    follow: (cluster: PublicCluster | undefined) => keys.wish(cluster === undefined ? "none" : wishOf(cluster)),
    start() {
      program.start();
      keys.start();
    },
    async stop() {
      await keys.stop();
      await program.stop();
    },
  };
}
