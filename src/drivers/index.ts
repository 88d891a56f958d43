import { bridge } from "./bridge/index.ts";
import type { NetworkDriver } from "./driver.ts";
import { host } from "./host/index.ts";
import { ipvlan } from "./ipvlan/index.ts";
import { macvlan } from "./macvlan/index.ts";
import { none } from "./none/index.ts";
import { overlay } from "./overlay/index.ts";

/** Every driver, by the name of its folder, which is what rows say. A new driver is one word here. */
export const drivers: Readonly<Record<string, NetworkDriver>> = { bridge, host, ipvlan, macvlan, none, overlay };
