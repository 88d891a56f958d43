import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { describe, it } from "node:test";
import { extract, pack } from "tar-stream";
import { dockers, useHost } from "../support/daemon.ts";
import { mountsUnder } from "../support/leftovers.ts";
import { calmTime, until } from "../support/until.ts";

const host = useHost({ clear: true });
const ok = (...args: string[]) => host().docker(...args);
const inContainer = (name: string, line: string) => ok("exec", name, "sh", "-c", line);

/** A container, running and not: both must do the same. */
const states = ["running", "created", "exited"] as const;
async function container(state: (typeof states)[number], ...options: string[]): Promise<string> {
  const setup =
    "mkdir -p /data/sub; echo one >/data/one; echo two >/data/sub/two; ln -s one /data/link; ln -s /data /to; ln -s nowhere /broken";
  if (state === "created") {
    const id = await ok("create", ...options, "busybox", "sleep", "1000");
    const tree = folder("tree");
    mkdirSync(join(tree, "data/sub"), { recursive: true });
    writeFileSync(join(tree, "data/one"), "one\n");
    writeFileSync(join(tree, "data/sub/two"), "two\n");
    symlinkSync("one", join(tree, "data/link"));
    symlinkSync("/data", join(tree, "to"));
    symlinkSync("nowhere", join(tree, "broken"));
    await ok("cp", `${tree}/.`, `${id}:/`);
    return id;
  }
  const wait = state === "running" ? "; exec sleep 1000" : "";
  const id = await ok("run", "-d", ...options, "busybox", "sh", "-c", `${setup}; echo done${wait}`);
  if (state === "exited") await ok("wait", id);
  else await until(async () => (await ok("logs", id)).includes("done"), "its files are there");
  return id;
}
let folders = 0;
function folder(name: string): string {
  const path = join(host().directory, `${name}-${(folders += 1)}`);
  mkdirSync(path);
  return path;
}

interface Header {
  readonly status: number;
  readonly stat?: { name: string; size: number; mode: number; mtime: string; linkTarget: string };
  readonly body: Buffer;
}
function archive(method: string, id: string, query: string, body?: Buffer): Promise<Header> {
  return new Promise((resolve, reject) => {
    const path = `/v1.44/containers/${id}/archive?${query}`;
    const sent = request({ socketPath: host().socket, path, method }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", reject);
      response.on("end", () => {
        const header = response.headers["x-docker-container-path-stat"];
        const stat = header === undefined ? {} : { stat: JSON.parse(Buffer.from(String(header), "base64").toString()) };
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks), ...stat });
      });
    });
    sent.on("error", reject).end(body);
  });
}
const message = ({ body }: Header) => (JSON.parse(body.toString()) as { message: string }).message;

type Entry = Parameters<ReturnType<typeof pack>["entry"]>[0] & { readonly text?: string | Buffer };
async function tarOf(...entries: Entry[]): Promise<Buffer> {
  const tar = pack();
  for (const { text, ...entry } of entries) tar.entry(entry, text ?? "");
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
async function namesIn(tar: Buffer): Promise<string[]> {
  const names: string[] = [];
  const stream = extract();
  stream.end(tar);
  for await (const entry of stream) {
    names.push(entry.header.name);
    entry.resume();
  }
  return names;
}

/** No mount and no descriptor of a container's root may stay. */
function nothingOpen(): void {
  const root = join(host().execRoot, "root");
  assert.deepEqual(
    mountsUnder(root).filter((path) => path !== ""),
    [],
  );
  const fds = readdirSync(`/proc/${daemonPid()}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${daemonPid()}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  const odd = fds.filter((target) => !/^(socket|pipe|anon_inode|\/dev\/|\/proc\/|net:)/.test(target));
  assert.deepEqual(
    odd.filter((target) => !target.startsWith(host().directory)),
    [],
  );
}
const daemonPid = () => Number(readFileSync(host().pidfile, "utf8"));

for (const client of dockers)
  for (const state of states)
    it(`${client}: docker cp, both ways, of a container that is ${state}`, async () => {
      const id = await container(state);
      const cp = async (...args: string[]) => {
        const { status, stderr } = await host().try(["cp", ...args], { client });
        assert.equal(status, 0, stderr);
      };
      const out = folder("out");
      await cp(`${id}:/data/one`, join(out, "file"));
      await cp(`${id}:/data`, out);
      await cp(`${id}:/to/sub/.`, join(out, "inside"));
      await cp(`${id}:/data/link`, join(out, "kept"));
      await cp("-L", `${id}:/data/link`, join(out, "followed"));
      assert.equal(readFileSync(join(out, "file"), "utf8"), "one\n");
      assert.equal(readFileSync(join(out, "data/sub/two"), "utf8"), "two\n");
      assert.equal(readlinkSync(join(out, "data/link")), "one");
      assert.equal(readFileSync(join(out, "inside/two"), "utf8"), "two\n");
      assert.equal(readlinkSync(join(out, "kept")), "one");
      assert.equal(readFileSync(join(out, "followed"), "utf8"), "one\n");
      const big = randomBytes(3 << 20);
      writeFileSync(join(out, "big"), big, { mode: 0o751 });
      await cp(join(out, "big"), `${id}:/data/big`);
      await cp(join(out, "data"), `${id}:/to/sub`); // through a link to an absolute path
      await cp(`${id}:/data/big`, join(out, "again"));
      assert.ok(readFileSync(join(out, "again")).equals(big));
      assert.equal(lstatSync(join(out, "again")).mode & 0o777, 0o751);
      await cp(`${id}:/data/sub/data/sub/two`, join(out, "deep"));
      assert.equal(readFileSync(join(out, "deep"), "utf8"), "two\n");
      const missing = await host().try(["cp", `${id}:/data/none`, out], { client });
      assert.equal(missing.status, 1);
      const newer = `Could not find the file /data/none in container ${id}`;
      assert.match(missing.stderr, new RegExp(`${newer}|No such container:path: ${id}:/data/none`));
      assert.equal((await host().try(["cp", join(out, "big"), `${id}:/none/x`], { client })).status, 1);
      if (state === "running") assert.equal(await inContainer(id, "cat /data/sub/data/one"), "one");
      nothingOpen();
    });

it("docker cp speaks tar, from a container and to one", async () => {
  const id = await container("running");
  const tar = join(host().directory, "data.tar");
  assert.equal(host().shell(`docker cp ${id}:/data - >${tar}`).stdout, "");
  assert.deepEqual(execFileSync("tar", ["-tf", tar], { encoding: "utf8" }).split("\n").slice(0, -1), [
    "data/",
    "data/link",
    "data/one",
    "data/sub/",
    "data/sub/two",
  ]);
  await inContainer(id, "mkdir /back");
  const { status, stdout } = host().shell(`gzip -c ${tar} | docker cp - ${id}:/back`);
  assert.equal(status, 0, stdout);
  assert.equal(await inContainer(id, "cat /back/data/sub/two; readlink /back/data/link"), "two\none");
  const whole = host().shell(`docker cp ${id}:/ - | tar -t 2>/dev/null | grep -c ^/*proc/.`);
  assert.equal(whole.stdout.trim(), "0", "the kernel's files are no files of the container");
});

describe("the operations themselves", () => {
  it("X-Docker-Container-Path-Stat has Go's mode, and where links lead", async () => {
    const id = await container("running");
    await inContainer(id, "chmod 4711 /data/one; touch -d '2020-01-02 03:04:05' /data/one; mkfifo /data/pipe");
    const stat = async (path: string) => (await archive("HEAD", id, `path=${encodeURIComponent(path)}`)).stat;
    assert.deepEqual(await stat("/data/one"), {
      name: "one",
      size: 4,
      mode: 2 ** 23 + 0o711,
      mtime: "2020-01-02T03:04:05Z",
      linkTarget: "",
    });
    assert.deepEqual(
      [(await stat("data"))?.mode, (await stat("/data/pipe"))?.mode],
      [2 ** 31 + 0o755, 2 ** 25 + 0o644],
    );
    assert.deepEqual([(await stat("/"))?.name, (await stat("/data/."))?.name], ["/", "."]);
    const link = await stat("/to/link");
    assert.deepEqual([link?.name, link?.mode, link?.linkTarget], ["link", 2 ** 27 + 0o777, "/data/one"]);
    assert.equal((await stat("/broken"))?.linkTarget, "/nowhere");
    assert.equal((await stat("/to/"))?.mode, 2 ** 31 + 0o755);
    const get = await archive("GET", id, "path=/data/");
    assert.deepEqual([get.stat?.name, (await namesIn(get.body))[0]], ["data", "data/"]);
  });

  it("says what is wrong, in Docker's words", async () => {
    const id = await container("exited");
    const missing = await archive("GET", id, "path=/nope/x");
    assert.deepEqual([missing.status, message(missing)], [404, `Could not find the file /nope/x in container ${id}`]);
    assert.equal((await archive("HEAD", id, "path=/nope")).status, 404);
    assert.deepEqual((await archive("GET", "nobody", "path=/")).status, 404);
    const file = await archive("PUT", id, "path=/data/one", await tarOf({ name: "x" }));
    assert.deepEqual([file.status, message(file)], [400, "extraction point is not a directory"]);
    assert.equal((await archive("PUT", id, "path=/none", await tarOf({ name: "x" }))).status, 404);
    assert.equal((await archive("PUT", id, "path=/data", randomBytes(2048))).status, 400);
    assert.equal((await archive("GET", id, `path=${encodeURIComponent("/a\0b")}`)).status, 400);
    const outside = await archive("PUT", id, "path=/data", await tarOf({ name: "../../x", text: "x" }));
    assert.deepEqual([outside.status, message(outside)], [400, '"../../x" is outside of "/data"']);
    nothingOpen();
  });

  it("replaces files and directories by one another, unless noOverwriteDirNonDir", async () => {
    const id = await container("running");
    const file = await tarOf({ name: "sub", text: "now a file" });
    const directory = await tarOf({ name: "one/", type: "directory", mode: 0o700 });
    const keep = "path=/data&noOverwriteDirNonDir=1";
    assert.match(
      message(await archive("PUT", id, keep, file)),
      /^cannot overwrite directory "\/data\/sub" with non-dir/,
    );
    assert.match(
      message(await archive("PUT", id, keep, directory)),
      /^cannot overwrite non-directory "\/data\/one" with/,
    );
    for (const body of [file, directory]) assert.equal((await archive("PUT", id, "path=/data", body)).status, 200);
    assert.equal(await inContainer(id, "cat /data/sub; stat -c ' %F %a' /data/one"), "now a file directory 700");
  });

  it("keeps owners, modes, times, links and devices; copyUIDGID takes the container's user", async () => {
    const id = await container("running", "-u", "daemon");
    const mtime = new Date("2021-02-03T04:05:06Z");
    const body = await tarOf(
      { name: "d/", type: "directory", mode: 0o2750, uid: 7, gid: 8, mtime },
      { name: "d/f", text: "text", mode: 0o4755, uid: 70_000, gid: 8, mtime },
      { name: "d/hard", type: "link", linkname: "d/f" },
      { name: "d/soft", type: "symlink", linkname: "../../etc/passwd", uid: 7, gid: 8, mtime },
      { name: "d/null", type: "character-device", devmajor: 1, devminor: 3, mode: 0o666 },
      { name: "d/pipe", type: "fifo", mode: 0o600 },
    );
    assert.equal((await archive("PUT", id, "path=/tmp", body)).status, 200);
    const shown = await ok(
      "exec",
      "-u",
      "0",
      id,
      "stat",
      "-c",
      "%n %F %a %u:%g %Y %h",
      "/tmp/d",
      "/tmp/d/f",
      "/tmp/d/soft",
    );
    const time = mtime.getTime() / 1000;
    assert.deepEqual(shown.split("\n"), [
      `/tmp/d directory 2750 7:8 ${time} 2`,
      `/tmp/d/f regular file 4755 70000:8 ${time} 2`,
      `/tmp/d/soft symbolic link 777 7:8 ${time} 1`,
    ]);
    assert.equal(
      await ok("exec", "-u", "0", id, "sh", "-c", "stat -c '%F %t,%T' /tmp/d/null /tmp/d/pipe"),
      "character special file 1,3\nfifo 0,0",
    );
    assert.equal((await archive("PUT", id, "path=/tmp&copyUIDGID=true", body)).status, 200);
    assert.equal(await ok("exec", "-u", "0", id, "stat", "-c", "%u:%g", "/tmp/d/f"), "1:1");
    const back = await archive("GET", id, "path=/tmp/d");
    assert.deepEqual(await namesIn(back.body), ["d/", "d/f", "d/hard", "d/null", "d/pipe", "d/soft"]);
  });

  it("a read-only root and a read-only volume stay as they are", async () => {
    const id = await container("created");
    await ok("rm", id);
    const readOnly = await ok("create", "--read-only", "-v", "vol:/vol", "-v", "vol:/ro:ro", "busybox");
    const body = await tarOf({ name: "x", text: "x" });
    const root = await archive("PUT", readOnly, "path=/etc", body);
    assert.deepEqual([root.status, message(root)], [403, "container rootfs is marked read-only"]);
    const volume = await archive("PUT", readOnly, "path=/ro", body);
    assert.deepEqual([volume.status, message(volume)], [403, "mounted volume is marked read-only"]);
    assert.equal((await archive("PUT", readOnly, "path=/vol", body)).status, 200);
    assert.deepEqual(await namesIn((await archive("GET", readOnly, "path=/ro/x")).body), ["x"]);
  });
});

it("volumes and binds are part of a container, running or not", async () => {
  const shared = folder("shared");
  writeFileSync(join(shared, "here"), "bound\n");
  for (const state of states) {
    const id = await container(state, "-v", "vol:/data/vol", "-v", `${shared}:/deep/bind`);
    const out = folder("out");
    await ok("cp", `${id}:/deep/bind/here`, out);
    assert.equal(readFileSync(join(out, "here"), "utf8"), "bound\n");
    writeFileSync(join(out, state), state);
    await ok("cp", join(out, state), `${id}:/data/vol/`);
    await ok("cp", join(out, state), `${id}:/deep/bind/`);
    assert.equal(readFileSync(join(shared, state), "utf8"), state);
    await ok("cp", `${id}:/etc/hosts`, out);
    assert.match(readFileSync(join(out, "hosts"), "utf8"), /localhost/);
    assert.equal(await ok("run", "--rm", "-v", "vol:/v", "busybox", "cat", `/v/${state}`), state);
    await ok("rm", "-f", id);
  }
  nothingOpen();
});

describe("no link leads out of a container", () => {
  const outside = () => {
    const path = folder("secret");
    writeFileSync(join(path, "file"), "secret of the host");
    return path;
  };

  it("links and .. end at its root", async () => {
    const secret = outside();
    for (const state of ["running", "exited"] as const) {
      const made = await container("running");
      await inContainer(
        made,
        `ln -s ${secret} /abs; ln -s ../../../../../../..${secret} /rel; ln -s ${secret}/file /f`,
      );
      if (state === "exited") await ok("stop", "-t", "0", made);
      for (const path of ["/abs/file", "/rel/file", "/abs/", "/f/", `../../../..${secret}/file`])
        assert.equal((await archive("GET", made, `path=${path}`)).status, 404, path);
      const body = await tarOf(
        { name: "abs/new", text: "x" },
        { name: "rel/new", text: "x" },
        { name: "f", text: "x" },
      );
      await archive("PUT", made, "path=/", body);
      await archive("PUT", made, "path=/abs", await tarOf({ name: "new", text: "x" }));
      const link = await tarOf(
        { name: "way", type: "symlink", linkname: secret },
        { name: "way/new", text: "x" },
        { name: "stolen", type: "link", linkname: `..${secret}/file` },
      );
      await archive("PUT", made, "path=/data", link);
      const hard = await tarOf({ name: "stolen", type: "link", linkname: "abs/file" });
      assert.notEqual((await archive("PUT", made, "path=/", hard)).status, 200);
      assert.deepEqual(readdirSync(secret), ["file"]);
      assert.equal(readFileSync(join(secret, "file"), "utf8"), "secret of the host");
      await ok("rm", "-f", made);
    }
    nothingOpen();
  });

  it("nor does one that the container swaps in meanwhile", async () => {
    const secret = outside();
    const id = await ok(
      "run",
      "-d",
      "busybox",
      "sh",
      "-c",
      `mkdir /d /keep; echo inside >/d/file; ln -s ${secret} /l; while true; do mv /d /keep/d; mv /l /d; mv /d /l; mv /keep/d /d; done`,
    );
    const full = await tarOf(
      { name: "d/", type: "directory" },
      { name: "d/new", text: "x" },
      { name: "d/deep/er/new", text: "x" },
    );
    const replacing = await tarOf({ name: "d", text: "a file for a directory" });
    const until = Date.now() + 4000;
    for (let turn = 0; Date.now() < until; turn += 1) {
      const got = await archive("GET", id, turn % 2 === 0 ? "path=/d/file" : "path=/d/");
      assert.ok(!got.body.includes("secret of the host"));
      await archive("PUT", id, "path=/", turn % 8 === 7 ? replacing : full);
      await archive("PUT", id, "path=/d", await tarOf({ name: "new", text: "x" }));
      assert.deepEqual(readdirSync(secret), ["file"]);
    }
    await ok("rm", "-f", id);
    nothingOpen();
  });
});

describe("a copy that is under way", () => {
  const big = async () => {
    const id = await container("running");
    await inContainer(id, "dd if=/dev/zero of=/big bs=1M count=64 2>/dev/null");
    return id;
  };
  /** A client that stops reading after the first bytes. */
  async function stalled(id: string): Promise<ChildProcess> {
    const child = spawn(
      "curl",
      ["-sN", "--limit-rate", "1k", "--unix-socket", host().socket, `http://d/containers/${id}/archive?path=/big`],
      {
        stdio: ["ignore", "pipe", "ignore"],
      },
    );
    if (child.stdout !== null) await once(child.stdout, "readable");
    return child;
  }

  it("lets go when its client does", async () => {
    const id = await big();
    const child = await stalled(id);
    assert.throws(nothingOpen);
    child.kill("SIGKILL");
    await ok("stop", "-t", "0", id);
    await ok("start", id);
    nothingOpen();
  });

  it("holds up no removal, and a start for some seconds", async () => {
    const id = await big();
    await ok("stop", "-t", "0", id);
    const child = await stalled(id);
    const begun = calmTime();
    await ok("start", id);
    assert.ok(calmTime() - begun < 9000);
    child.kill("SIGKILL");
    const other = await stalled(id);
    await ok("rm", "-f", id);
    other.kill("SIGKILL");
    await until(() => {
      try {
        return (nothingOpen(), true);
      } catch {
        return false;
      }
    }, "nothing is open");
  });
});

it("an image of more layers than mount(2) takes by their whole names", async () => {
  const sum = (data: Buffer | string) => createHash("sha256").update(data).digest("hex");
  const layers = [];
  for (let at = 0; at < 60; at += 1) layers.push(await tarOf({ name: `layer-${at}`, text: String(at) }));
  const config = JSON.stringify({
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config: { Cmd: ["none"] },
    rootfs: { type: "layers", diff_ids: layers.map((layer) => `sha256:${sum(layer)}`) },
  });
  const manifest = [{ Config: "c.json", RepoTags: ["tall:1"], Layers: layers.map((_layer, at) => `${at}.tar`) }];
  const image = await tarOf(
    { name: "c.json", text: config },
    { name: "manifest.json", text: JSON.stringify(manifest) },
    ...layers.map((layer, at) => ({ name: `${at}.tar`, text: layer })),
  );
  const loaded = await host().try(["load"], { input: image });
  assert.equal(loaded.status, 0, loaded.stderr);
  const id = await ok("create", "tall:1");
  const names = await namesIn((await archive("GET", id, "path=/")).body);
  assert.ok(names.includes("/layer-0") && names.includes("/layer-59"));
  nothingOpen();
});

it("docker export gives all files but those of volumes", async () => {
  const shared = folder("shared");
  writeFileSync(join(shared, "here"), "bound\n");
  for (const state of states) {
    const id = await container(state, "-v", `${shared}:/bind`);
    const file = join(host().directory, `${state}.tar`);
    await ok("export", "-o", file, id);
    const names = execFileSync("tar", ["-tf", file], { encoding: "utf8" }).split("\n");
    for (const name of ["bin/busybox", "data/sub/two", "to", "bind/"]) assert.ok(names.includes(name), name);
    assert.ok(!names.includes("bind/here"));
    await ok("import", file, "copied");
    assert.equal(await ok("run", "--rm", "copied", "cat", "/to/sub/two"), "two");
    await ok("rm", "-f", id);
    assert.ok(existsSync(file));
  }
  nothingOpen();
});
