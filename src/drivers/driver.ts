import type { AddressPool } from "../model/address-pool.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { Network, NetworkSpec, Scope } from "../model/network.ts";
import type { PlanObject } from "../model/plan.ts";
import type { Sandbox } from "../model/sandbox.ts";

/** What a driver sees of one network: rows only. */
export interface NetworkView {
  readonly network: Network;
  readonly pools: readonly AddressPool[];
}
export interface EndpointView extends NetworkView {
  readonly endpoint: Endpoint;
  readonly sandbox: Sandbox;
}

/** Settings of the daemon that stand behind options the user left out. */
export interface DriverDefaults {
  /** Default host address of published ports (`--ip`). */
  readonly hostBinding: string;
}

/** Three functions without I/O, clock or randomness: the same view gives the same plan. */
export interface NetworkDriver<Options = unknown> {
  readonly name: string;
  readonly scope: Scope;
  /** False for host and none: their networks have no subnet. */
  readonly hasPools: boolean;
  /** True when several subnets of one family are allowed. */
  readonly severalSubnets: boolean;
  /** Reads and checks `-o key=value`. @throws {EngineError} with Docker's text; an unknown key names the nearest known one. */
  readOptions(spec: NetworkSpec): Options;
  /** What the network itself needs, without any endpoint. */
  planNetwork(view: NetworkView, options: Options): readonly PlanObject[];
  /** What one endpoint adds; so the cost of a connect does not grow with the network. */
  planEndpoint(view: EndpointView, options: Options): readonly PlanObject[];
}
