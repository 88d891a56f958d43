import type { Kernel } from "../kernel/kernel.ts";
import type { Network } from "../model/network.ts";
import type { Owner } from "../model/plan.ts";
import type { Snapshot } from "../store/store.ts";
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
    const known = [...this.#networks.keys()].map(
      (link) => [link, this.#states.get(link) ?? parentState(this.#kernel, link)] as const,
    );
    this.#states = new Map(known);
    this.#seen = new Map(known.map(([link]) => [link, this.#seen.get(link) ?? this.#look(link)]));
  }

  #look(name: string): string {
    const link = this.#kernel.link("host", name);
    return link === undefined ? "gone" : `${link.index} ${parentState(this.#kernel, name)} ${link.promiscuous}`;
  }

  /**
   * An event was about this link. Each container that comes and goes causes some (its MAC is one more to be taken in),
   * which change nothing here. @returns true when somebody stands on the link, and it is another one or in another state
   */
  touch(link: string): boolean {
    if (!this.#networks.has(link)) return false;
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
