import type { NodeAddressing } from "../../engine/engine.ts";
import { invalid } from "../../lib/errors.ts";
import { text } from "../schemas.ts";
import { readAvailability } from "./words.ts";

/** What the bodies of init and join have in common. */
export const addressingFields = { ListenAddr: text, AdvertiseAddr: text, DataPathAddr: text, Availability: text };

type Said = Readonly<Partial<Record<keyof typeof addressingFields, string | null | undefined>>>;

/** What init and join must say (moby daemon/cluster/swarm.go, validateAddr). @throws {EngineError} invalid, Docker's text */
export function checkListenAddress({ ListenAddr }: Said): void {
  if (!ListenAddr) throw invalid('invalid ListenAddr "": invalid empty address');
}

/** @throws {EngineError} invalid for an availability that is none */
export const readAddressing = (body: Said): NodeAddressing => ({
  listenAddress: body.ListenAddr ?? "",
  advertiseAddress: body.AdvertiseAddr ?? "",
  dataPathAddress: body.DataPathAddr ?? "",
  availability: readAvailability(body.Availability || "active"),
});
