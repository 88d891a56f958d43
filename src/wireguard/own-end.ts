import type { ClusterId, NodeId } from "../model/cluster.ts";
import { isSilent, type OwnEnd, type OwnKey, type WireguardEnd, type WireguardKeys } from "../model/wireguard.ts";

/** Which keys the cluster wants its hosts to have. */
export interface KeyWish {
  readonly cluster: ClusterId;
  readonly generation: number;
  /** True when the keys of that generation are known of every host at work. */
  readonly isKnown: boolean;
  /** What a key of that generation is used with. */
  readonly link: string;
  readonly udpPort: number;
}

const newest = ({ keys }: WireguardKeys): number => keys.at(-1)?.generation ?? 0;
const has = ({ keys }: WireguardKeys, wanted: number) => keys.some(({ generation }) => generation === wanted);

/** True while this host has no key of the generation that its cluster wants. */
export const needsKey = (own: OwnEnd | undefined, { cluster, generation }: KeyWish): boolean =>
  own?.id !== cluster || !has(own, generation);

/** With a new pair of keys. The one before stays in use, unless its link is wanted for the new one. */
export function withKey(own: OwnEnd | undefined, wish: KeyWish, publicKey: string): OwnEnd {
  const { cluster, generation, link, udpPort } = wish;
  const before = own?.id === cluster ? own : undefined;
  const kept = (before?.keys ?? []).filter((key) => key.generation < generation && key.link !== link).slice(-1);
  const keys: readonly OwnKey[] = [...kept, { generation, publicKey, link, udpPort }];
  return { id: cluster, keys, sends: keys[0]?.generation ?? 0, answered: before?.answered ?? {} };
}

/** @param answers public keys of the hosts that have answered over the link of the newest key */
export function withAnswers(own: OwnEnd, ends: readonly WireguardEnd[], answers: ReadonlySet<string>): OwnEnd {
  const generation = newest(own);
  const answered: [NodeId, number][] = ends.flatMap((end) => {
    const key = end.keys.find((one) => one.generation === generation);
    const known = own.answered[end.id];
    if (key !== undefined && answers.has(key.publicKey)) return [[end.id, generation]];
    return known === undefined ? [] : [[end.id, known]];
  });
  return { ...own, answered: Object.fromEntries(answered) };
}

/** With the generation by which it sends to all that have it: the newest, once nobody else can come to have it unseen. */
export function withSends(own: OwnEnd, wish: KeyWish | undefined, ends: readonly WireguardEnd[]): OwnEnd {
  const hasAll = wish?.isKnown === true && wish.generation === newest(own) && !ends.some((end) => isSilent(own, end));
  return { ...own, sends: hasAll ? newest(own) : (own.keys[0]?.generation ?? 0) };
}

/** True when nobody sends by the older key any more, nor has to be reached by it. */
export const mayDrop = (own: OwnEnd, ends: readonly WireguardEnd[]): boolean =>
  own.keys.length > 1 &&
  own.sends === newest(own) &&
  ends.every((end) => has(end, newest(own)) && end.sends === newest(own));

/** With the newest key alone: there is nobody else to reach. */
export const withoutOlder = (own: OwnEnd): OwnEnd => ({ ...own, keys: own.keys.slice(-1), answered: {} });
