import { writeFileSync } from "node:fs";
import { attempt, type CommandOptions, LabError, run } from "./command.ts";

/** RFC 5737 and RFC 3849: addresses that are nobody's. Host 3 is 192.0.2.3 and 2001:db8::3. */
export const addressOf = (host: number) => `192.0.2.${host}`;
export const address6Of = (host: number) => `2001:db8::${host}`;
export const gateway = { address: "192.0.2.254", address6: "2001:db8::fe" } as const;
/** Which frames are lost: all, those to the host, or those from it. */
export type Cut = "both" | "to" | "from";

const bridge = "br0";
const portOf = (host: number) => `u${host}`;
const batch = (...lines: string[]): CommandOptions => ({ input: `${lines.join("\n")}\n` });

/** Makes a network namespace that `pin` keeps, and runs lines of ip(8) in it. */
async function makeNamespace(pin: string, ...lines: string[]): Promise<void> {
  writeFileSync(pin, "", { flag: "wx" });
  await run(["unshare", `--net=${pin}`, "ip", "-batch", "-"], batch("link set lo up", ...lines));
}

/** The switch: a bridge in a namespace of its own. Its own addresses are those of the gateway, which plays the outside. */
export const makeSwitch = (pin: string): Promise<void> =>
  makeNamespace(
    pin,
    `link add ${bridge} type bridge mcast_snooping 0`,
    `address add ${gateway.address}/24 dev ${bridge}`,
    `address add ${gateway.address6}/64 dev ${bridge} nodad`,
    `link set ${bridge} up`,
  );

/** The namespace of a host, with a wire from its eth0 to the switch. */
export async function plugIn(host: number, pin: string, switchPin: string): Promise<void> {
  await makeNamespace(
    pin,
    `link add eth0 type veth peer name ${portOf(host)} netns ${switchPin}`,
    `address add ${addressOf(host)}/24 dev eth0`,
    `address add ${address6Of(host)}/64 dev eth0 nodad`,
    "link set eth0 up",
    `route add default via ${gateway.address}`,
    `route add ::/0 via ${gateway.address6}`,
  );
  await inSwitch(switchPin, ["ip", "link", "set", portOf(host), "master", bridge, "up"]);
}

const inSwitch = (pin: string, command: readonly string[], options?: CommandOptions) =>
  run(["nsenter", `--net=${pin}`, ...command], options);

/** Both ways, the switch's end goes down, and the host sees its carrier go; one way, frames are dropped unseen. */
export async function cutWire(pin: string, host: number, cut: Cut): Promise<void> {
  if (cut === "both") await inSwitch(pin, ["ip", "link", "set", portOf(host), "down"]);
  else
    await inSwitch(pin, ["nft", "-f", "-"], { input: `${oneWay}add element bridge cut ${cut} { ${portOf(host)} }\n` });
}

/** Undoes every cut of a host's wire. */
export async function healWire(pin: string, host: number): Promise<void> {
  await inSwitch(pin, ["ip", "link", "set", portOf(host), "up"]);
  const element = (verb: string, set: string) => `${verb} element bridge cut ${set} { ${portOf(host)} }\n`;
  const input = ["to", "from"].flatMap((set) => [element("add", set), element("delete", set)]).join("");
  if (await hasOneWayCuts(pin)) await inSwitch(pin, ["nft", "-f", "-"], { input });
}

/** Without nft there were none. */
const hasOneWayCuts = (pin: string): Promise<boolean> =>
  attempt(["nsenter", `--net=${pin}`, "nft", "list", "table", "bridge", "cut"]).then(
    ({ status }) => status === 0,
    (error: unknown) => {
      if (error instanceof LabError) return false;
      throw error;
    },
  );

const oneWay = `table bridge cut {
  set from { type ifname; }
  set to { type ifname; }
  chain in { type filter hook prerouting priority -300; iifname @from drop; }
  chain out { type filter hook postrouting priority 300; oifname @to drop; }
}
`;
