import { globSync, readFileSync, realpathSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { basename, delimiter, join, resolve } from "node:path";

/** The clone, which guests see at the same path, read-only. */
export const clone = resolve(import.meta.dirname, "../..");
/** What `tools/setup.sh vm` unpacks; see there. */
export const kernelDirectory = join(clone, "build/vm-kernel");
/** The project's Node, in the clone, and the directories of programs that a guest looks through. */
const node = join(clone, "node_modules/.bin/node");
const system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
export const guestPath = [join(clone, "node_modules/.bin"), ...system, join(clone, "build/debian-docker/usr/bin")].join(
  delimiter,
);

/** Not on the overlay in guests: what must be empty, and what overlays are made of. */
const inMemory = ["/run", "/tmp", "/var/tmp", "/var/lib/containerd", "/var/lib/docker", "/var/lib/tombolo"];
/** What a guest needs before it sees the machine's root, where all other modules are. */
const bootModules = ["virtio_pci", "virtio_console", "virtio_net", "virtiofs", "overlay"];

export const nameOf = (number: number) => `h${number}`;
export const addressOf = (number: number) => `10.77.0.${number}`;
export const macOf = (number: number) => `52:54:00:77:00:${number.toString(16).padStart(2, "0")}`;
/** The segment's own number: the last address of 10.77.0.0/24. */
export const segmentNumber = 254;

/** The initial file system of guest `number` of `count`. */
export function initialFiles(number: number, count: number): Buffer {
  const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const settings = {
    name: nameOf(number),
    number: `${number}`,
    clone,
    node,
    path: guestPath,
    memory: inMemory.join(" "),
    // The guest cannot follow a link before it has its root.
    modules: realpathSync(join(kernelDirectory, "lib/modules")),
  };
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  const hosts = [
    "127.0.0.1 localhost",
    "::1 localhost ip6-localhost",
    `${addressOf(segmentNumber)} segment`,
    ...numbers.flatMap((n) => [`${addressOf(n)} ${nameOf(n)}`, `fd77::${n} ${nameOf(n)}`]),
  ];
  const here = (file: string) => readFileSync(join(import.meta.dirname, file));
  return archive([
    ["bin", undefined],
    ["bin/busybox", readFileSync("/bin/busybox")],
    ["init", here("init.sh")],
    ["lane", undefined],
    // As JavaScript: to strip types would cost an emulated processor a second.
    ["lane/agent.mjs", Buffer.from(stripTypeScriptTypes(here("agent.ts").toString()))],
    ["lane/hosts", Buffer.from(`${hosts.join("\n")}\n`)],
    ["lane/modules", undefined],
    ...modulesInOrder().map(
      (path, i) => [`lane/modules/${`${i}`.padStart(2, "0")}-${basename(path)}`, readFileSync(path)] as const,
    ),
    [
      "lane/settings",
      Buffer.from(
        Object.entries(settings)
          .map(([key, value]) => `${key}=${quoted(value)}\n`)
          .join(""),
      ),
    ],
  ]);
}

/** The boot modules with what they need, each after what it needs. */
function modulesInOrder(): string[] {
  const [directory = ""] = globSync(join(kernelDirectory, "lib/modules/*"));
  const lines = readFileSync(join(directory, "modules.dep"), "utf8").split("\n");
  const ordered = bootModules.flatMap((name) => {
    const line = lines.find((l) => l.split(":")[0]?.endsWith(`/${name}.ko`));
    if (line === undefined) throw new Error(`the kernel in ${kernelDirectory} has no module ${name}`);
    // modules.dep(5): the module, then what it needs, the most basic last.
    return line
      .split(/:? /)
      .filter((path) => path !== "")
      .map((path) => path.replace(/:$/, ""))
      .toReversed();
  });
  return [...new Set(ordered)].map((path) => join(directory, path));
}

/** A cpio archive in the format that the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst). */
function archive(entries: readonly (readonly [name: string, data: Buffer | undefined])[]): Buffer {
  const parts: Buffer[] = [];
  const add = (name: string, mode: number, data: Buffer) => {
    const fields = [parts.length, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
    const head = `070701${fields.map((f) => f.toString(16).padStart(8, "0")).join("")}${name}\0`;
    parts.push(padded(Buffer.from(head, "latin1")), padded(data));
  };
  for (const [name, data] of entries) add(name, data === undefined ? 0o040755 : 0o100755, data ?? Buffer.alloc(0));
  add("TRAILER!!!", 0, Buffer.alloc(0));
  return Buffer.concat(parts);
}
const padded = (data: Buffer) => Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)]);
