import type { Owner, PlanObject } from "../model/plan.ts";

/** One object that is not as planned. */
export interface Difference {
  readonly what: "missing" | "left over" | "different";
  /** `keyOf` of the object. */
  readonly key: string;
  readonly owner?: string;
  readonly object: PlanObject;
}

/** `no carrier`: it is up, but its cable is out. */
export type ParentState = "up" | "down" | "no carrier" | "gone";

/** Makes the kernel match the plans of all owners, and keeps it so. */
export interface Dataplane {
  /** Reads the store, repairs what differs, then sweeps what nobody owns. Resolves when the first round is done. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /**
   * Resolves once `owner` is in the kernel (or gone from it) as of the store's `revision` or later.
   * @throws {KernelError} what the kernel refused; the owner is tried again with growing pauses until its row goes.
   */
  settled(owner: Owner, revision: number, signal?: AbortSignal): Promise<void>;
  /**
   * Resolves once what sends connections to tasks is in the kernel as of the store's `revision` or later. What the kernel refuses
   * of it is waited for. @throws the signal's reason
   */
  balanced(revision: number, signal: AbortSignal): Promise<void>;
  /** Brings a parent up on which networks stand, now: somebody is about to ask there. */
  bringUp(link: string): void;
  /** Tries once more, at once, what the kernel refused: what was missing has come. */
  tryAgain(): void;
  /** What an owner could not get, if anything. */
  errorOf(owner: Owner): Error | undefined;
  /** Reads the kernel afresh and compares: empty when all is well. */
  audit(): Promise<Difference[]>;
}
