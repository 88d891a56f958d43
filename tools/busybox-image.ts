/**
 * Builds an image from Debian's busybox-static: `busybox.tar` for `docker load`, `busybox-root.tar` for `docker import`.
 * Nothing is downloaded. The same busybox gives the same image.
 *
 *   node tools/busybox-image.ts DIRECTORY
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { pack } from "tar-stream";

const busybox = "/bin/busybox";
const epoch = new Date(0);
const architectures: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

const directories = ["bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "usr/bin", "var", "var/www"];
const files: Readonly<Record<string, string>> = {
  "etc/passwd":
    "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
  "etc/group": "root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:\nnobody:x:65534:\n",
  "etc/nsswitch.conf": "hosts: files dns\n",
};

/** The root file system as a tar. */
async function rootTar(): Promise<Buffer> {
  const tar = pack();
  const whole = buffer(tar);
  const common = { mtime: epoch, uid: 0, gid: 0 };
  for (const name of directories)
    tar.entry({ ...common, name: `${name}/`, type: "directory", mode: name === "root" ? 0o700 : 0o755 });
  tar.entry({ ...common, name: "tmp/", type: "directory", mode: 0o1777 });
  for (const [name, text] of Object.entries(files)) tar.entry({ ...common, name, mode: 0o644 }, text);
  tar.entry({ ...common, name: "bin/busybox", mode: 0o755 }, readFileSync(busybox));
  const applets = execFileSync(busybox, ["--list"], { encoding: "utf8" }).split("\n");
  for (const applet of applets)
    if (applet !== "" && applet !== "busybox")
      tar.entry({ ...common, name: `bin/${applet}`, type: "link", linkname: "bin/busybox", mode: 0o755 });
  tar.finalize();
  return whole;
}

const sha256 = (data: Buffer | string) => createHash("sha256").update(data).digest("hex");

/** Writes both archives into `directory`. @returns their paths */
export async function buildBusybox(directory: string): Promise<{ image: string; root: string }> {
  mkdirSync(directory, { recursive: true });
  const layer = await rootTar();
  const config = JSON.stringify({
    architecture: architectures[process.arch] ?? process.arch,
    os: "linux",
    created: epoch.toISOString(),
    config: { Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], Cmd: ["sh"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${sha256(layer)}`] },
    history: [{ created: epoch.toISOString(), created_by: "Debian's busybox-static" }],
  });
  const tar = pack();
  const whole = buffer(tar);
  const names = { config: `${sha256(config)}.json`, layer: `${sha256(layer)}/layer.tar` };
  tar.entry({ name: names.config, mtime: epoch }, config);
  tar.entry({ name: names.layer, mtime: epoch }, layer);
  const manifest = [{ Config: names.config, RepoTags: ["busybox:latest"], Layers: [names.layer] }];
  tar.entry({ name: "manifest.json", mtime: epoch }, JSON.stringify(manifest));
  tar.finalize();
  const paths = { image: join(directory, "busybox.tar"), root: join(directory, "busybox-root.tar") };
  writeFileSync(paths.image, await whole);
  writeFileSync(paths.root, layer);
  return paths;
}

if (import.meta.main) console.log(Object.values(await buildBusybox(process.argv[2] ?? "build")).join("\n"));
