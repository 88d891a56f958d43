/**
 * First process of a lane's namespaces: makes the segment and its hosts, then runs commands in it. When its lane is gone, it
 * ends, and the kernel ends and removes everything else in the namespaces.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { serve } from "./agent.ts";
import { addressOf, clone, initialFiles, kernelDirectory, macOf, nameOf, segmentNumber } from "./guest-files.ts";

export interface SegmentOptions {
  readonly hosts: number;
  /** MiB for each host. */
  readonly memory: number;
}
/** The segment's own stream, and the hosts' after it, as file descriptors. */
export const firstStream = 3;
/** A memory file system is mounted here, in the lane's mount namespace alone: on the disk it stays empty. */
const scratch = join(kernelDirectory, "scratch");
const locks = "/var/run/virtiofsd";

const diskTypes = ["ext4", "xfs", "btrfs", "zfs", "f2fs"];
const mounts = () =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(" "))
    .map((words) => ({ root: words[3], path: words[4] ?? "", type: words[words.indexOf("-") + 1] ?? "" }));

/** The machine's root, read-only, with the disks that are mounted below it. */
function shareRoot(): void {
  const readOnly = (from: string, to: string) => {
    execFileSync("mount", ["--bind", from, to]);
    execFileSync("mount", ["-o", "remount,bind,ro", to]);
  };
  // Other programs' namespaces and containers must not live on here when they end. They may be ending now.
  const others = mounts().filter(({ path, type }) => type === "nsfs" || path.endsWith("/rootfs"));
  if (others.length > 0) spawnSync("umount", ["-l", ...others.map(({ path }) => path)]);
  mkdirSync(scratch, { recursive: true });
  const disks = mounts().filter(({ root, path, type }) => root === "/" && path !== "/" && diskTypes.includes(type));
  execFileSync("mount", ["-t", "tmpfs", "-o", "mode=700", "lane", scratch]);
  mkdirSync(join(scratch, "root"));
  readOnly("/", join(scratch, "root"));
  for (const { path } of disks) readOnly(path, join(scratch, "root", path));
  // The hosts of another lane are called the same, and virtiofsd locks a file of the socket's name here.
  mkdirSync(locks, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "locks", locks]);
  const seen = join(scratch, "root", clone);
  if (!existsSync(join(seen, "package.json"))) readOnly(clone, seen);
}

/** One bridge with a tap for each host. IPv6 of the taps stays silent. */
function makeSegment(hosts: readonly number[]): void {
  const lines = [
    "link set lo up",
    "link add lan0 type bridge mcast_snooping 0",
    `address add ${addressOf(segmentNumber)}/24 dev lan0`,
    `address add fd77::${segmentNumber}/64 dev lan0 nodad`,
    "link set lan0 up",
    ...hosts.flatMap((n) => [
      `tuntap add ${nameOf(n)} mode tap`,
      `link set ${nameOf(n)} addrgenmode none`,
      `link set ${nameOf(n)} master lan0 up`,
    ]),
  ];
  execFileSync("ip", ["-batch", "-"], { input: lines.join("\n") });
}

/** Starts the emulator of one host, with a server for its root. Their messages go to `<name>.log`, beside `<name>.console`. */
async function startHost(number: number, { hosts, memory }: SegmentOptions): Promise<void> {
  const name = nameOf(number);
  const log = openSync(join(scratch, `${name}.log`), "a");
  writeFileSync(join(scratch, `${name}.initrd`), initialFiles(number, hosts));
  const source = join(scratch, "root").replaceAll(/[,\\]/g, "\\$&");
  const server = [`--socket-path=${name}.root`, "-o", `source=${source}`, "-o", "cache=always"];
  // Relative paths: QEMU takes a comma in a path for the end of it.
  const options = { cwd: scratch, detached: true };
  const files = spawn("/usr/lib/qemu/virtiofsd", server, { ...options, stdio: ["ignore", log, log] });
  while (!existsSync(join(scratch, `${name}.root`))) {
    if (files.exitCode !== null) throw new Error(readFileSync(join(scratch, `${name}.log`), "utf8"));
    await sleep(10);
  }
  const stream = firstStream + number;
  const emulation = spawn("qemu-system-x86_64", emulator(number, memory), {
    ...options,
    stdio: ["ignore", log, log, stream],
  });
  closeSync(log);
  // unshare(1) holds a copy of the stream: that the emulator has ended must be said.
  emulation.on("exit", () => new Socket({ fd: stream }).end());
}

/** The guest of one host: one processor in software, a serial console, one network card, the agent's port on descriptor 3. */
function emulator(number: number, memory: number): string[] {
  const name = nameOf(number);
  const boot = "console=ttyS0 loglevel=5 panic=-1 nokaslr mitigations=off cryptomgr.notests";
  return [
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-machine", "q35,memory-backend=memory", "-accel", "tcg", "-cpu", "max,la57=off", "-smp", "1"],
    ...["-m", `${memory}`, "-object", `memory-backend-memfd,id=memory,size=${memory}M,share=on`],
    ...["-kernel", "../vmlinux", "-initrd", `${name}.initrd`, "-append", boot],
    ...["-serial", `file:${name}.console`],
    ...["-device", "virtio-serial-pci", "-chardev", `socket,id=agent,fd=${firstStream}`],
    ...["-device", "virtserialport,chardev=agent,name=agent"],
    ...["-chardev", `socket,id=root,path=${name}.root`],
    ...["-device", "vhost-user-fs-pci,chardev=root,tag=root,queue-size=1024"],
    ...["-netdev", `tap,id=net,ifname=${name},script=no,downscript=no`],
    ...["-device", `virtio-net-pci,netdev=net,romfile=,mac=${macOf(number)}`],
  ];
}

if (import.meta.main) {
  const options = JSON.parse(process.argv[2] ?? "") as SegmentOptions;
  const numbers = Array.from({ length: options.hosts }, (_, i) => i + 1);
  const stream = new Socket({ fd: firstStream });
  stream.on("close", () => process.exit(0));
  stream.on("error", () => process.exit(0));
  shareRoot();
  process.chdir(scratch);
  makeSegment(numbers);
  await Promise.all(numbers.map((number) => startHost(number, options)));
  serve(stream, stream);
}
