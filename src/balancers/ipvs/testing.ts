import type { BalancerCase, BalancerFixture } from "../../../test/contract/balancer-cases.ts";
import type { BalancePolicy } from "../../model/service.ts";
import { fixture as rules } from "../nft/testing.ts";

const shared = (by: BalancePolicy["by"]): BalancerCase => ({
  title: `tombolo.lb=${by}`,
  tasks: 3,
  service: { balance: { by, local: false } },
});

export const fixture: BalancerFixture = {
  cases: [
    { title: "three tasks, by turns", tasks: 3 },
    { title: "three tasks, IPv4 and IPv6", tasks: 3, ipv6: true },
    { title: "no task", tasks: 0 },
    { title: "one task", tasks: 1 },
    shared("least"),
    shared("source"),
    { ...shared("random"), title: "tombolo.lb=random: by rules" },
    {
      title: "tombolo.lb=local,least: two tasks are here",
      tasks: 3,
      here: 2,
      service: { balance: { by: "least", local: true } },
    },
    { title: "tombolo.idle=900s: by rules", tasks: 3, service: { idle: 900_000 } },
    // The way of the rules, which have more of them.
    ...rules.cases.filter(
      ({ isPublished, tasks, service }) => isPublished && (tasks === 0 || service?.keepsClient === false),
    ),
  ],
};
