import { vlanOf } from "../drivers/parent.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Network } from "../model/network.ts";
import type { Owner } from "../model/plan.ts";
import type { RowKey, Snapshot } from "../store/store.ts";
import type { ParentState } from "./dataplane.ts";
import { type DriverFor, parentUse } from "./views.ts";

/** Tells what became of a parent: on which networks stand. */
export type OnParent = (link: string, state: ParentState, networks: readonly Network[]) => void;

/** What a link of the host is like, for those who stand on it. */
export function parentState(kernel: Kernel, name: string): ParentState {
  const link = kernel.link("host", name);
  if (link === undefined) return "gone";
  if (!link.up) return "down";
  return link.carrier ? "up" : "no carrier";
}

/** The links of the host on which networks stand, and what they were like when somebody last looked. */
export class Parents {
  readonly #kernel: Kernel;
  readonly #driverFor: DriverFor;
  readonly #tell: OnParent;
  readonly #touched = new Set<string>();
  #networks = new Map<string, Network[]>();
  /** VLAN interfaces that networks stand on, by what they are made on. */
  #above = new Map<string, string[]>();
  #states = new Map<string, ParentState>();
  /** What of each link matters here, as it was when it was looked at last. */
  #seen = new Map<string, string>();

  constructor(kernel: Kernel, driverFor: DriverFor, tell: OnParent) {
    this.#kernel = kernel;
    this.#driverFor = driverFor;
    this.#tell = tell;
  }

  /** Takes note of who stands on what. */
  follow(rows: Snapshot): void {
    this.#networks = Map.groupBy(
      rows.list("networks").filter((network) => parentUse(network, this.#driverFor) !== undefined),
      (network) => parentUse(network, this.#driverFor)?.link ?? "",
    );
    this.#above = Map.groupBy(this.#networks.keys(), (link) => vlanOf(link)?.parent ?? "");
    const known = [...this.#networks.keys()].map(
      (link) => [link, this.#states.get(link) ?? parentState(this.#kernel, link)] as const,
    );
    this.#states = new Map(known);
    this.#seen = new Map(known.map(([link]) => [link, this.#seen.get(link) ?? this.#look(link)]));
  }

  /** @returns the links that are down and on which a network or an endpoint of these rows is new */
  wantedUp(before: Snapshot, rows: Snapshot, changed: readonly RowKey[]): string[] {
    const links = changed.flatMap(({ table, key }) => {
      if ((table !== "networks" && table !== "endpoints") || before.get(table, key) !== undefined) return [];
      const network = table === "networks" ? key : rows.get(table, key)?.networkId;
      const row = network === undefined ? undefined : rows.get("networks", network);
      return (row && parentUse(row, this.#driverFor)?.link) ?? [];
    });
    return [...new Set(links)].filter((link) => parentState(this.#kernel, link) === "down");
  }

  /** A VLAN interface is remade as soon as its own parent is there again: that counts, too. */
  #look(name: string): string {
    const link = this.#kernel.link("host", name);
    if (link !== undefined) return `${link.index} ${parentState(this.#kernel, name)} ${link.promiscuous} ${link.mtu}`;
    const below = vlanOf(name)?.parent;
    return below === undefined ? "gone" : `gone, on ${this.#kernel.link("host", below)?.index ?? "nothing"}`;
  }

  /**
   * An event was about this link. Each container that comes and goes causes some (its MAC is one more to be taken in),
   * which change nothing here. @returns true when somebody stands on the link, and it is another one or in another state
   */
  touch(link: string): boolean {
    const here = [link, ...(this.#above.get(link) ?? [])].filter((one) => this.#networks.has(one));
    return here.map((one) => this.#isOther(one)).includes(true);
  }

  /** Events were lost: any parent may be another one. */
  touchAll(): void {
    for (const link of this.#networks.keys()) this.#isOther(link);
  }

  #isOther(link: string): boolean {
    const now = this.#look(link);
    if (now === this.#seen.get(link)) return false;
    this.#seen.set(link, now);
    this.#touched.add(link);
    return true;
  }

  /** Tells what changed since. @returns the networks and endpoints on what was touched */
  look(rows: Snapshot): Owner[] {
    const links = [...this.#touched];
    this.#touched.clear();
    return links.flatMap((link): Owner[] => {
      const networks = this.#networks.get(link) ?? [];
      const state = parentState(this.#kernel, link);
      if (state !== this.#states.get(link)) this.#tell(link, state, networks);
      this.#states.set(link, state);
      const endpoints = networks.flatMap(({ id }) => rows.where("endpoints", "network", id));
      return [
        `parent:${link}`,
        ...networks.map(({ id }) => `network:${id}` as const),
        ...endpoints.map(({ id }) => `endpoint:${id}` as const),
      ];
    });
  }
}
