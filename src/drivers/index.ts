import { bridge } from "./bridge/index.ts";
import type { NetworkDriver } from "./driver.ts";
import { host } from "./host/index.ts";
import { none } from "./none/index.ts";

/** Every driver, by the name that `-d` takes. A new driver is one line here. */
export const drivers: ReadonlyMap<string, NetworkDriver> = new Map(
  [bridge, host, none].map((driver) => [driver.name, driver as NetworkDriver]),
);
