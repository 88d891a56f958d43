import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gateway } from "../../src/lab/switch.ts";
import { type Question, type Spot, useMesh } from "../support/lab-mesh.ts";
import { until } from "../support/until.ts";

const families = [4, 6] as const;
type Family = (typeof families)[number];
type Addresses = Readonly<Record<Family, string>>;
/** Of the services here: what clients ask, and where tasks hear. */
const ports = [
  { protocol: "tcp", published: 8080, target: 80 },
  { protocol: "udp", published: 8080, target: 80 },
  { protocol: "tcp", published: 8081, target: 81 },
  { protocol: "udp", published: 8082, target: 81 },
] as const;
const published = ports
  .map((port) => `--publish published=${port.published},target=${port.target},protocol=${port.protocol}`)
  .join(" ");
/** Two tasks, on h2 and h3. */
const two = "--replicas 2 --constraint node.hostname!=h1";
const both = [2, 3];
const count = 4; // so that each of two tasks has its turn
const refusal = ["ECONNREFUSED"];

describe("services of the lab's hosts are reached", () => {
  const { host, docker, refused, hosts, begin, service, server, ask, entryOf } = useMesh();
  const addressOf = (number: number): Addresses => ({ 4: host(number).address, 6: host(number).address6 });
  const outside: Addresses = { 4: gateway.address, 6: gateway.address6 };
  const container = async (number: number, name: string, network: string) => {
    await docker(number, `run -d --name ${name} --network ${network} busybox sleep 1d`);
  };
  const ownAddress = async (number: number, name: string, network: string): Promise<Addresses> => {
    const format = `{{with index .NetworkSettings.Networks "${network}"}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}`;
    const [v4 = "", v6 = ""] = (await host(number).docker("inspect", "-f", format, name)).split(" ");
    return { 4: v4, 6: v6 };
  };
  /**
   * One question a port and family; the tasks of these hosts are to answer, and to see this client. Where there are none,
   * connections are refused; datagrams are not asked for, as Linux does not tell of each.
   */
  const questions = (to: Addresses, seen: Addresses, from: readonly number[], asked: readonly Port[] = ports) =>
    families.flatMap((family) =>
      asked
        .filter(({ protocol }) => protocol === "tcp" || from.length > 0)
        .map(({ protocol, published: port, target }): Question => {
          const answers = from.map((number) => `h${number}:${target} ${seen[family]}`);
          return [{ protocol, address: to[family], port, count }, answers.length === 0 ? refusal : answers];
        }),
    );
  type Port = { readonly protocol: "tcp" | "udp"; readonly published: number; readonly target: number };
  const portOf = (number: number): Port[] => [
    { protocol: "tcp", published: number, target: 80 },
    { protocol: "udp", published: number, target: 80 },
  ];
  const publish = (number: number) => `--publish ${number}:80 --publish ${number}:80/udp`;
  /** Virtual addresses of a service on a network. */
  async function virtual(name: string, network: string): Promise<Addresses> {
    const id = await docker(1, `network inspect -f {{.Id}} ${network}`);
    const ips = JSON.parse(await host(1).docker("service", "inspect", "-f", "{{json .Endpoint.VirtualIPs}}", name)) as {
      readonly NetworkID: string;
      readonly Addr: string;
    }[];
    const own = ips.filter(({ NetworkID }) => NetworkID === id).map(({ Addr }) => Addr.replace(/\/.*/, ""));
    return { 4: own.find((one) => !one.includes(":")) ?? "", 6: own.find((one) => one.includes(":")) ?? "" };
  }

  it("at every host, port and family, from everywhere, and see who asks", async () => {
    await begin();
    const entries = new Map<number, Addresses>();
    for (const number of hosts) {
      await docker(number, "network create --ipv6 own");
      await container(number, "c", "own");
      entries.set(number, await entryOf(number));
    }
    const entry = (number: number) => entries.get(number) as Addresses;
    await service("web", `${two} ${published}`, [80, 81]);

    const everywhere = (seenAt: (number: number) => Addresses) =>
      hosts.flatMap((number) => questions(addressOf(number), seenAt(number), both));
    await ask(
      "outside",
      everywhere(() => outside),
    );
    for (const number of hosts) {
      const own = addressOf(number);
      const loopback = questions({ 4: "127.0.0.1", 6: "::1" }, entry(number), both);
      // Linux takes no answer for ::1 from another link.
      const here = loopback.map(
        ([asking, answers]): Question => [asking, asking.address === "::1" ? refusal : answers],
      );
      await ask({ host: number }, [...everywhere(() => own), ...here]);
      // An address that means somebody on this host alone is not passed on.
      const seen = (at: number) => (at === number ? entry(number) : own);
      await ask({ host: number, container: "c" }, everywhere(seen));
      const [task] = (await docker(number, "ps -q -f is-task=true")).split("\n");
      if (task) await ask({ host: number, container: task }, everywhere(seen));
    }

    await service("snat", `${two} ${publish(8090)} --label tombolo.mesh=snat`);
    await service("here", `${two} ${publish(8091)} --label tombolo.publish-address=${host(2).address}`);
    await service("near", `${two} ${publish(8092)} --label tombolo.lb=local`);
    const onHost = (port: string) => `--publish mode=host,target=80,published=8093,protocol=${port}`;
    await docker(1, "network create -d overlay --ipv6 shop");
    await service(
      "hostly",
      `--network shop --mode global --constraint node.hostname!=h1 ${onHost("tcp")} ${onHost("udp")}`,
    );
    for (const [spot, client] of [
      ["outside", outside],
      [{ host: 1 }, addressOf(1)],
    ] as [Spot, Addresses][]) {
      const asked = hosts.flatMap((number) => {
        const own = addressOf(number);
        const local = both.includes(number) ? [number] : [];
        const isHere = number === 2 ? both : [];
        return [
          ...questions(own, entry(number), both, portOf(8090)),
          ...questions(own, client, isHere, portOf(8091)).filter(([{ address }]) => address !== host(2).address6),
          ...questions(own, client, number === 1 ? both : [number], portOf(8092)),
          ...questions(own, client, local, portOf(8093)),
        ];
      });
      await ask(spot, asked);
    }
    await portsAreNamed();
  });

  /** A port is one's alone on all nodes, and who asks for it hears whose it is. */
  async function portsAreNamed(): Promise<void> {
    const services = await docker(1, "service ls -q");
    await docker(3, "run -d --name holder -p 8099:80 busybox sleep 1d");
    await server({ host: 2 }, [8098]);
    const ask = "service create -d --no-resolve-image --name late";
    const isNamed = (port: number, holder: string) =>
      until(async () => {
        const { status, stderr } = await host(1).tryDocker(...`${ask} -p ${port}:80 busybox sleep 1d`.split(" "));
        if (status === 0) await docker(1, "service rm late");
        return stderr.includes(`port '${port}' is already in use by ${holder}`);
      }, holder);
    await isNamed(8099, "container 'holder' on node 'h3'");
    await isNamed(2377, "a process on node 'h1'");
    await isNamed(8098, "a process on node 'h2'"); // with its next beat
    const nowhere = "--label tombolo.publish-address=198.51.100.9";
    assert.match(await refused(1, `${ask} ${nowhere} -p 8094:80 busybox`), /no node of the swarm has the address 198/);
    assert.equal(await docker(1, "service ls -q"), services);
    assert.match(
      await refused(3, "run --rm -p 8080:80 busybox true"),
      /failed to bind host port for 0\.0\.0\.0:8080.*: service web publishes it on every node/,
    );
    await docker(1, `${ask} --constraint node.hostname==h3 -p mode=host,target=80,published=8099 busybox sleep 1d`);
    const told = () => docker(1, "service ps --no-trunc --format {{.CurrentState}}{{.Error}} late");
    await until(async () => (await told()).includes("host-mode port already in use on 1 node"), "why it waits");
    await docker(3, "rm -f holder");
    await until(async () => (await told()).startsWith("Running"), "it runs when the port is free");
  }

  it("on encrypted networks, by name and by published port, in both families", async () => {
    await begin("--opt encrypted");
    await docker(1, "network create -d overlay --attachable --ipv6 --opt encrypted shop");
    for (const number of hosts) await container(number, `c${number}`, "shop");
    await service("web", `${two} --network shop ${published}`, [80, 81]);
    await service("near", `${two} --network shop --label tombolo.lb=local`);
    await ask(
      "outside",
      hosts.flatMap((number) => questions(addressOf(number), outside, both)),
    );
    const inside = ports.map((port) => ({ ...port, published: port.target }));
    for (const number of hosts) {
      const seen = await ownAddress(number, `c${number}`, "shop");
      await ask({ host: number, container: `c${number}` }, [
        ...questions(await virtual("web", "shop"), seen, both, inside),
        ...questions(await virtual("near", "shop"), seen, number === 1 ? both : [number], portOf(80)),
      ]);
    }
  });
});
