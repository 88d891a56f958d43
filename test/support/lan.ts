import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inside } from "./daemon.ts";

/** A LAN: a switch in a namespace of its own, with a router at 10.1.1.1 and fd00::1, and whatever is plugged into it. */
export class TestLan {
  readonly directory = mkdtempSync(join(tmpdir(), "tombolo-lan-"));
  readonly namespace = this.#namespaceFile("switch");
  readonly #running: ChildProcess[] = [];
  readonly #files = [this.namespace];
  #ports = 0;

  constructor() {
    this.run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0");
    this.run("ip", "address", "add", "10.1.1.1/8", "dev", "br0");
    this.run("ip", "-6", "address", "add", "fd00::1/60", "dev", "br0", "nodad");
    for (const link of ["lo", "br0"]) this.run("ip", "link", "set", link, "up");
  }

  #namespaceFile(name: string): string {
    const file = join(this.directory, name);
    writeFileSync(file, "");
    execFileSync("unshare", [`--net=${file}`, "true"]);
    return file;
  }

  /** Runs a command at the switch, where the router is. @throws when it fails */
  run(command: string, ...args: string[]): string {
    return inside(this.namespace, command, ...args);
  }

  /** Starts a program at the switch. It ends with the LAN. */
  start(command: string, ...args: string[]): ChildProcess {
    return this.#start(this.namespace, command, ...args);
  }
  #start(namespace: string, command: string, ...args: string[]): ChildProcess {
    const child = spawn("nsenter", [`--net=${namespace}`, command, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    this.#running.push(child);
    return child;
  }

  /** Plugs a namespace into the switch, by a cable whose end there is called `link`. */
  plug(namespace: string, link: string): void {
    const port = `port${(this.#ports += 1)}`;
    inside(namespace, "ip", "link", "add", link, "type", "veth", "peer", "name", port, "netns", this.namespace);
    this.run("ip", "link", "set", port, "master", "br0", "up");
  }

  /** A machine on the LAN with these addresses. @returns its namespace */
  machine(name: string, ...addresses: string[]): string {
    const namespace = this.#namespaceFile(name);
    this.#files.push(namespace);
    this.plug(namespace, "eth0");
    inside(namespace, "ip", "link", "set", "eth0", "up");
    for (const address of addresses) {
      const flags = address.includes(":") ? ["nodad"] : [];
      inside(namespace, "ip", "address", "add", address, "dev", "eth0", ...flags);
    }
    return namespace;
  }

  stop(): void {
    for (const child of this.#running) child.kill("SIGKILL");
    // At once: without this the cables go some time after their namespace.
    for (let port = 1; port <= this.#ports; port += 1)
      spawnSync("nsenter", [`--net=${this.namespace}`, "ip", "link", "delete", `port${port}`]);
    for (const file of this.#files) spawnSync("umount", ["-l", file]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** True when a ping from that namespace is answered, which may have to wait for a neighbour that is asked for a second time. */
export const pings = (namespace: string, address: string, seconds = 5): boolean =>
  spawnSync("nsenter", [`--net=${namespace}`, "busybox", "ping", "-c1", `-W${seconds}`, address]).status === 0;
