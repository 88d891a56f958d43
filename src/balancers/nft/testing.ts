import type { BalancerCase, BalancerFixture } from "../../../test/contract/balancer-cases.ts";
import type { ServicePort } from "../../model/service.ts";

const port = (protocol: ServicePort["protocol"], published: number, target: number): ServicePort => ({
  name: "",
  protocol,
  published,
  target,
  mode: "ingress",
});
const ports = [port("tcp", 8080, 80), port("udp", 9053, 53)];
const published = (title: string, rest: Partial<BalancerCase> = {}): BalancerCase => ({
  title,
  tasks: 2,
  isPublished: true,
  ...rest,
  service: { ports, ...rest.service },
});

export const fixture: BalancerFixture = {
  cases: [
    { title: "three tasks, by turns", tasks: 3 },
    { title: "three tasks, IPv4 and IPv6", tasks: 3, ipv6: true },
    { title: "no task", tasks: 0 },
    { title: "one task", tasks: 1 },
    { title: "17 tasks: more than share a chain", tasks: 17 },
    { title: "tombolo.lb=random", tasks: 3, service: { balance: { by: "random", local: false } } },
    { title: "tombolo.lb=source", tasks: 3, service: { balance: { by: "source", local: false } } },
    {
      title: "tombolo.lb=local,rr: two tasks are here",
      tasks: 3,
      here: 2,
      service: { balance: { by: "rr", local: true } },
    },
    { title: "tombolo.lb=local,rr: none is here", tasks: 3, service: { balance: { by: "rr", local: true } } },
    { title: "tombolo.idle=900s", tasks: 3, service: { idle: 900_000 } },
    published("published: in the ingress sandbox"),
    published("published, IPv4 and IPv6", { ipv6: true }),
    published("published, without a task", { tasks: 0 }),
    published("published, with 17 tasks", { tasks: 17 }),
    published("published, tombolo.mesh=snat", { service: { keepsClient: false } }),
    published("published, tombolo.idle=900s", { service: { ports, idle: 900_000 } }),
    published("published at one address of the host, another port on its tasks' hosts only", {
      service: {
        ports: [{ ...ports[0], address: "192.0.2.1" } as ServicePort, { ...port("tcp", 9000, 90), mode: "host" }],
      },
    }),
  ],
};
