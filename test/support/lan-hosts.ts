import assert from "node:assert/strict";
import { after, before } from "node:test";
import { useHost } from "./daemon.ts";
import { TestLan } from "./lan.ts";

const words = (line: string) => line.split(" ").filter(Boolean);
export const parent = "-o parent=ens160";
/** The LAN's subnet, and the range of it that is ours. */
export const subnet = `--subnet 10.0.0.0/8 --gateway 10.1.1.1 ${parent}`;
export const ranged = `${subnet} --ip-range 10.3.1.0/24`;

/** Two hosts on one LAN, 10.1.1.111 and 10.1.1.112 on `ens160`, for the tests of one suite; most of them need the first only. */
export function useLanHosts() {
  let lan: TestLan;
  // Before the hosts go: their ends of its cables go with it.
  after(() => lan.stop());
  const first = useHost({ clear: true });
  const second = useHost({ clear: true });
  before(() => {
    lan = new TestLan();
    for (const [index, host] of [first(), second()].entries()) {
      lan.plug(host.namespace, "ens160");
      host.here("ip", "address", "add", `10.1.1.${111 + index}/8`, "dev", "ens160");
      host.here("ip", "link", "set", "ens160", "up");
    }
  });
  const docker = (line: string, ...more: string[]) => first().docker(...words(line), ...more);
  return {
    lan: () => lan,
    first,
    second,
    docker,
    /** Starts a container that does nothing. */
    sleeper: (name: string, flags: string, host = first()) =>
      host.docker(...words(`run -d --name ${name} ${flags} busybox sleep 1d`)),
    create: (line: string, host = first()) => host.docker("network", "create", "-d", ...words(line)),
    /** Runs a docker command that must be refused. @returns what it said */
    async refused(line: string) {
      const { status, stderr } = await first().try(words(line));
      assert.notEqual(status, 0, `${line} was not refused`);
      return stderr;
    },
    /** Whether a container has an answer to a ping. */
    reaches: (from: string, to: string, host = first(), seconds = 5) =>
      host.try(["exec", from, "ping", "-c1", `-W${seconds}`, to]).then(({ status }) => status === 0),
    /** What inspect says of a container on a network. */
    ofNetwork: (name: string, network: string, field: string) =>
      docker("inspect -f", `{{(index .NetworkSettings.Networks "${network}").${field}}}`, name),
    link: (name: string, host = first()) => host.here("ip", "link", "show", name),
  };
}
