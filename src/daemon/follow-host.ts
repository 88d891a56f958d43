import type { Membership } from "../cluster/node/membership.ts";
import type { Replica } from "../cluster/node/replica.ts";
import type { Log } from "../engine/parts.ts";
import type { Kernel, KernelEvent } from "../kernel/kernel.ts";

type Subject = "links" | "routes";
/** Milliseconds: they change in bursts. */
const settling = { links: 500, routes: 1000 } as const satisfies Record<Subject, number>;
/** Of what events tell. Routes go without a word when a link goes down. */
const subjects: Partial<Record<KernelEvent["kind"], readonly Subject[]>> = {
  link: ["links", "routes"],
  address: ["routes"],
  route: ["routes"],
  lost: ["links", "routes"],
};

/** Has the tunnels measured again when links of the host have changed, and the swarm told when its routes have. @returns what ends it */
export function followHost(
  kernel: Kernel,
  { replica, membership, log }: { readonly replica: Replica; readonly membership: Membership; readonly log: Log },
): () => void {
  const calls: Readonly<Record<Subject, () => void>> = {
    links: () => void replica.measure().catch((err: unknown) => log.warn({ err }, "the MTU of tunnels")),
    routes: () => membership.describe(),
  };
  const timers = new Map<Subject, NodeJS.Timeout>();
  const begin = (subject: Subject) =>
    setTimeout(() => {
      timers.delete(subject);
      calls[subject]();
    }, settling[subject]).unref();
  const end = kernel.events((event) => {
    if (event.kind !== "lost" && event.namespace !== "host") return;
    for (const subject of subjects[event.kind] ?? []) timers.getOrInsertComputed(subject, begin);
  });
  return () => {
    for (const timer of timers.values()) clearTimeout(timer);
    end();
  };
}
