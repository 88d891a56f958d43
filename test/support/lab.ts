import assert from "node:assert/strict";
import {
  closeSync,
  fstatSync,
  globSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { after, afterEach, before } from "node:test";
import { attempt, type Outcome } from "../../src/lab/command.ts";
import type { LabHost } from "../../src/lab/host.ts";
import { type Lab, type LabOptions, openLab, startLab } from "../../src/lab/lab.ts";
import { mountsUnder } from "../../src/lab/mounts.ts";
import { processesIn } from "../../src/lab/processes.ts";
import { names } from "../../src/lab/registry.ts";
import { buildBusybox } from "../../tools/busybox-image.ts";
import { until } from "./until.ts";

const root = resolve(import.meta.dirname, "../..");
const ours = new Set<string>();
const endOurs = () => Promise.allSettled(names().flatMap((name) => (ours.has(name) ? [openLab(name).down()] : [])));
// The runner ends a file that takes too long: its hosts must not outlive it.
for (const signal of ["SIGTERM", "SIGINT"] as const)
  process.once(signal, () => void endOurs().then(() => process.exit(1)));
after(endOurs); // those of tests that failed

/** A name for a lab that nobody else uses; the lab is ended with the tests. */
export function labName(suffix = ""): string {
  const name = `test-${process.pid}${suffix}`;
  ours.add(name);
  return name;
}

/** Runs `tombolo lab …`; it need not succeed. */
export const tomboloLab = (...args: string[]): Promise<Outcome> => attempt([join(root, "bin/tombolo"), "lab", ...args]);

/** Builds the image `busybox` for the time of a file's tests. @returns its archive */
export function useBusybox(): () => string {
  let directory = "";
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "tombolo-image-"));
    await buildBusybox(directory);
  });
  after(() => rmSync(directory, { recursive: true }));
  return () => join(directory, "busybox.tar");
}

/** The environment of a daemon that `arm` can tell where to die. */
export const armable = { TOMBOLO_FAILPOINT: "@/run/failpoint" } as const;
/** @param failpoint its name, perhaps with `#N` */
export const arm = (host: LabHost, failpoint: string): Promise<string> =>
  host.run("sh", "-c", `printf '${failpoint}=kill' >/run/failpoint`);
/** Starts a daemon that passes all failpoints until `arm`. */
export async function startArmable(host: LabHost): Promise<void> {
  await host.run("rm", "-f", "/run/failpoint");
  await host.start({ env: armable });
}

const settling = 5000; // milliseconds: a host's way into the ingress network is made after it has joined

async function assertAudit(host: LabHost): Promise<void> {
  let found: unknown[] = [];
  await until(
    async () => (found = await host.audit()).length === 0,
    () => `the audit of ${host.name} is at zero: ${JSON.stringify(found)}`,
    settling,
  );
}

/** Each running daemon's audit is at zero, or comes to it. */
export async function assertAudits(hosts: readonly LabHost[]): Promise<void> {
  const running = hosts.filter((host) => host.state() === "running");
  await Promise.all(running.map(assertAudit));
}

/**
 * Hosts for the tests of one file, with busybox loaded. Each test must leave every running daemon's audit at zero, and
 * the last one nothing on the machine.
 */
export function useLab(options: LabOptions = {}): () => Lab {
  const image = useBusybox();
  let lab: Lab | undefined;
  before(async () => {
    lab = await startLab({ name: labName(), image: image(), ...options });
  });
  afterEach(async () => {
    await assertAudits(lab?.hosts ?? []);
  });
  after(async () => {
    if (lab === undefined) return;
    const traces = tracesOf(lab);
    await lab.down();
    assert.deepEqual(leftOf(traces), [], "left on the machine");
  });
  return () => {
    assert.ok(lab, "the lab did not come up");
    return lab;
  };
}

/** By what a lab can be recognized after its end. */
export interface Traces {
  readonly name: string;
  readonly directory: string;
  /** As in /proc/PID/ns: `net:[4026532179]`. */
  readonly namespaces: ReadonlySet<string>;
  readonly containers: ReadonlySet<string>;
}
const kinds = ["net", "mnt", "uts", "pid"];

/** Namespaces that are held until this process ends: what has the number of one is that one, and no later one of somebody else. */
const held = new Map<string, number>();

function hold(kind: string, path: string): string | undefined {
  try {
    const descriptor = openSync(path, "r");
    const id = `${kind}:[${fstatSync(descriptor).ino}]`;
    if (held.has(id)) closeSync(descriptor);
    else held.set(id, descriptor);
    return id;
  } catch {
    return undefined; // it ended meanwhile
  }
}

/** Taken while the lab is up. */
export function tracesOf({ name, directory, hosts, switch: pin }: Lab): Traces {
  const pins = [pin, ...hosts.map((host) => host.pin)];
  const inHosts = processesIn(pins).flatMap(({ pid }) =>
    kinds.flatMap((kind) => hold(kind, `/proc/${pid}/ns/${kind}`) ?? []),
  );
  const own = new Set(kinds.map((kind) => namespaceOf(process.pid, kind)));
  const namespaces = new Set([...pins.flatMap((path) => hold("net", path) ?? []), ...inHosts]);
  for (const path of globSync("/proc/*/root/run/tombolo/netns/*"))
    if (namespaces.has(namespaceOf(path.split("/")[2] ?? "", "mnt") ?? "")) namespaces.add(hold("net", path) ?? "");
  const containers = globSync(join(directory, "h*/data/containers/*")).map((path) => basename(path));
  return { name, directory, namespaces: namespaces.difference(own), containers: new Set(containers) };
}

/** What is left of a lab, each as a line for the reader of a failure. */
export function leftOf({ name, directory, namespaces, containers }: Traces): string[] {
  const inNamespace = (pid: string) =>
    ["net", "mnt", "pid"].some((kind) => namespaces.has(namespaceOf(pid, kind) ?? ""));
  // One that waits for the machine's first process to reap it holds nothing any more.
  const isThere = (pid: string) => /^\d+$/.test(pid) && !/\) [ZX] /.test(read(`/proc/${pid}/stat`));
  const processes = readdirSync("/proc").filter((pid) => isThere(pid) && pid !== String(process.pid));
  const groups = globSync("/sys/fs/cgroup/{tombolo,*/tombolo}/*").filter((path) => containers.has(basename(path)));
  const pinned = processes.flatMap((pid) =>
    read(`/proc/${pid}/mountinfo`)
      .split("\n")
      .filter((line) => isPin(line)),
  );
  function isPin(line: string): boolean {
    return line.includes(" - nsfs ") && namespaces.has(line.split(" ")[3] ?? "");
  }
  return [
    ...processes
      .filter((pid) => read(`/proc/${pid}/cmdline`).includes(`${directory}/`) || inNamespace(pid))
      .map((pid) => `process ${pid}: ${read(`/proc/${pid}/cmdline`).replaceAll("\0", " ")}`),
    ...mountsUnder(directory).map(({ path }) => `mount ${path}`),
    ...pinned.map((line) => `namespace ${line}`),
    ...groups.map((path) => `control group ${path}`),
    ...globSync(directory).map((path) => `file ${path}`),
    ...names().flatMap((known) => (known === name ? [`name ${name}`] : [])),
  ];
}

function namespaceOf(pid: number | string, kind: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return undefined; // it ended meanwhile
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
