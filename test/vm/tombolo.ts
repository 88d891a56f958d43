import { join } from "node:path";
import { buildBusybox } from "../../tools/busybox-image.ts";
import { clone } from "./guest-files.ts";
import type { Lane } from "./lane.ts";
import type { Station } from "./station.ts";
import { until as anywhere } from "../support/until.ts";

const patience = 240_000; // milliseconds: under emulation everything takes fifteen times as long
/** As `anywhere`, for what such machines do. */
export const until = (isSo: () => Promise<boolean>, what?: string): Promise<number> => anywhere(isSo, what, patience);

/** A host of a lane with tombolod and the image busybox. */
export class TomboloHost {
  /** For the docker client. */
  static readonly env = { DOCKER_HOST: "unix:///run/tombolo/docker.sock" };
  readonly host: Station;
  constructor(host: Station) {
    this.host = host;
  }

  /** Starts tombolod with these flags on each host of a lane. @throws with the log of one that does not come up */
  static async start(lane: Lane, ...flags: readonly string[]): Promise<TomboloHost[]> {
    const { image } = await buildBusybox(join(clone, "build/images"));
    return Promise.all(
      lane.hosts.map(async (station) => {
        await station.spawn([join(clone, "bin/tombolod"), ...flags]).sees(/tombolod is ready/, patience);
        const host = new TomboloHost(station);
        await host.docker(`load -i ${image}`);
        return host;
      }),
    );
  }

  /** Runs a docker command, its words separated by blanks. @returns what it printed @throws when it fails */
  docker(line: string): Promise<string> {
    return this.sh(`docker ${line}`);
  }
  /** Runs a shell line. @returns what it printed @throws when it fails */
  sh(line: string): Promise<string> {
    return this.host.sh(line, { env: TomboloHost.env, timeout: patience });
  }
  /** Runs a docker command that may fail. */
  try(line: string): ReturnType<Station["run"]> {
    return this.host.run(["sh", "-c", `docker ${line}`], { env: TomboloHost.env, timeout: patience });
  }
  /** True when a ping from that container is answered within two seconds. */
  async reaches(container: string, address: string): Promise<boolean> {
    return (await this.try(`exec ${container} ping -c1 -W2 ${address}`)).status === 0;
  }
  sleeper(name: string, flags: string): Promise<string> {
    return this.docker(`run -d --name ${name} ${flags} busybox sleep 1d`);
  }
  /** Removes all containers and networks. @throws when the audit is not at zero afterwards */
  async clear(): Promise<void> {
    await this.sh("docker ps -aq | xargs -r docker rm -f >/dev/null; docker network prune -f >/dev/null");
    await this.sh(`${join(clone, "bin/tombolo")} audit`);
  }
}
