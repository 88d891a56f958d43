import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { TestHost } from "../support/daemon.ts";
import { until } from "../support/until.ts";

/** bcrypt of the password "sesame". */
const password = "$2b$05$P2os/XQRxLQ9xBBq7tljoOaDSlMvJoVkxFhISu8kQmTGSblvsn8QG";

/** Debian's docker-registry in the host's namespace. */
async function startRegistry(host: TestHost, port: number, auth = ""): Promise<ChildProcess> {
  const directory = join(host.directory, `registry-${port}`);
  mkdirSync(directory);
  const config = join(directory, "config.yml");
  writeFileSync(join(directory, "users"), `ali:${password}\n`);
  writeFileSync(
    config,
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${directory}/data }, delete: { enabled: true } }\nhttp: { addr: "127.0.0.1:${port}" }\n${auth.replace("USERS", join(directory, "users"))}`,
  );
  const child = spawn("nsenter", [`--net=${host.namespace}`, "docker-registry", "serve", config], { stdio: "ignore" });
  await listens(host, port);
  return child;
}

/** Resolves when somebody listens at a port of the host's. */
function listens(host: TestHost, port: number): Promise<number> {
  return until(() => {
    try {
      host.here("sh", "-c", `busybox nc 127.0.0.1 ${port} </dev/null`);
      return true;
    } catch {
      return false;
    }
  }, `somebody listens at ${port}`);
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined) return;
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}

describe("registries", () => {
  let host: TestHost;
  let open: ChildProcess | undefined;
  let closed: ChildProcess | undefined;
  before(async () => {
    host = await TestHost.start();
    await host.loadBusybox();
    open = await startRegistry(host, 5000);
    closed = await startRegistry(host, 5001, "auth: { htpasswd: { realm: test, path: USERS } }\n");
  });
  after(async () => {
    await Promise.all([end(open), end(closed)]);
    await host.stop();
  });

  it("push, pull by tag and by digest, run of an image that is not there yet", async () => {
    await host.docker("tag", "busybox", "127.0.0.1:5000/tools/busybox:1");
    const pushed = await host.docker("push", "127.0.0.1:5000/tools/busybox:1");
    const digest = /^1: digest: (sha256:[0-9a-f]{64}) size: \d+$/m.exec(pushed)?.[1] ?? "";
    assert.notEqual(digest, "", pushed);
    await host.docker("rmi", "127.0.0.1:5000/tools/busybox:1", "busybox");
    await host.docker("image", "prune", "-af");
    assert.equal(await host.docker("images", "-q"), "");
    const { status, stdout, stderr } = await host.try([
      "run",
      "--rm",
      "127.0.0.1:5000/tools/busybox:1",
      "echo",
      "pulled",
    ]);
    assert.deepEqual([status, stdout], [0, "pulled\n"], stderr);
    assert.match(
      stderr,
      /^Unable to find image '127\.0\.0\.1:5000\/tools\/busybox:1' locally\n1: Pulling from tools\/busybox\n/,
    );
    assert.match(stderr, /: Pulling fs layer\n[\s\S]*: Download complete\n[\s\S]*: Pull complete\n/);
    assert.match(
      stderr,
      new RegExp(`Digest: ${digest}\nStatus: Downloaded newer image for 127.0.0.1:5000/tools/busybox:1\n`),
    );
    assert.match(
      await host.docker("pull", "127.0.0.1:5000/tools/busybox:1"),
      /Status: Image is up to date for 127\.0\.0\.1:5000\/tools\/busybox:1/,
    );
    assert.match(await host.docker("pull", `127.0.0.1:5000/tools/busybox@${digest}`), new RegExp(`Digest: ${digest}`));
    assert.match(await host.docker("images", "--digests"), new RegExp(digest));
    await host.auditIsZero();
  });

  it("says what is not there", async () => {
    const missing = await host.try(["pull", "127.0.0.1:5000/tools/busybox:nope"]);
    assert.deepEqual(
      [missing.status, missing.stderr],
      [
        1,
        "Error response from daemon: manifest for 127.0.0.1:5000/tools/busybox:nope not found: manifest unknown: manifest unknown\n",
      ],
    );
    const nobody = await host.try(["pull", "127.0.0.1:5999/x"]);
    assert.equal(nobody.status, 1);
    assert.equal(
      nobody.stderr,
      'Error response from daemon: Get "http://127.0.0.1:5999/v2/": dial tcp 127.0.0.1:5999: connect: connection refused\n',
    );
    const upper = await host.try(["pull", "127.0.0.1:5000/Busybox"]);
    assert.match(upper.stderr, /must be lowercase/);
  });

  it("speaks to every port, also those that browsers do not", async () => {
    const blocked = await startRegistry(host, 6000);
    try {
      await host.docker("tag", "127.0.0.1:5000/tools/busybox:1", "127.0.0.1:6000/b");
      await host.docker("push", "127.0.0.1:6000/b");
      await host.docker("rmi", "127.0.0.1:6000/b");
      await host.docker("pull", "127.0.0.1:6000/b");
    } finally {
      await end(blocked);
    }
    const nobody = await host.try(["pull", "127.0.0.1:1/x"]);
    assert.match(nobody.stderr, /: dial tcp 127\.0\.0\.1:1: connect: connection refused$/m);
    const plain = await host.try(["pull", "nowhere.invalid/x"]);
    assert.match(plain.stderr, /Get "https:\/\/nowhere\.invalid\/v2\/.*": dial tcp: lookup nowhere\.invalid: /);
  });

  it("asks for a login, and keeps the password to itself", async () => {
    await host.docker("tag", "127.0.0.1:5000/tools/busybox:1", "127.0.0.1:5001/busybox");
    assert.match((await host.try(["push", "127.0.0.1:5001/busybox"])).stderr, /no basic auth credentials/);
    const wrong = await host.try(["login", "-u", "ali", "--password-stdin", "127.0.0.1:5001"], { input: "wrong" });
    assert.equal(wrong.status, 1);
    assert.match(wrong.stderr, /unauthorized: authentication required/);
    const right = await host.try(["login", "-u", "ali", "--password-stdin", "127.0.0.1:5001"], { input: "sesame" });
    assert.match(right.stdout, /Login Succeeded/, right.stderr);
    await host.docker("push", "127.0.0.1:5001/busybox");
    await host.docker("pull", "127.0.0.1:5001/busybox");
    assert.doesNotMatch(host.log, /sesame/);
  });

  it("gives services images behind a login, by the digest that the registry has", async () => {
    const image = "127.0.0.1:5001/busybox";
    await host.docker("swarm", "init", "--advertise-addr", "127.0.0.1");
    await host.docker("rmi", image);
    const create = (name: string, ...flags: string[]) =>
      host.docker("service", "create", "-q", "--name", name, ...flags, image, "sleep", "1d");
    const id = await create("with", "--with-registry-auth", "--stop-signal", "SIGKILL");
    assert.match(
      await host.docker("service", "inspect", id),
      /"Image": "127\.0\.0\.1:5001\/busybox:latest@sha256:[0-9a-f]{64}"/,
    );
    assert.equal(
      await host.docker("service", "ps", "--format", "{{.Image}} {{.DesiredState}}", "with"),
      `${image}:latest Running`,
    );
    await host.docker("service", "rm", "with");
    await until(async () => (await host.docker("ps", "-aq")) === "", "the task goes");
    await host.docker("image", "prune", "-af");
    await create("without", "-d", "--restart-condition", "none");
    const failure = () => host.docker("service", "ps", "--no-trunc", "--format", "{{.Error}}", "without");
    await until(async () => (await failure()) !== "", "the task fails");
    assert.match(await failure(), /no basic auth credentials/);
    await host.docker("service", "rm", "without");
    await host.docker("swarm", "leave", "--force");
    assert.doesNotMatch(host.log, /sesame/);
    await host.auditIsZero();
  });

  describe("a list by platform, and a pull that breaks off", () => {
    let server: Server;
    let address: string;
    const blobs = new Map<string, Buffer>();
    const put = (data: Buffer | string) => {
      const digest = `sha256:${createHash("sha256").update(data).digest("hex")}`;
      blobs.set(digest, Buffer.from(data));
      return { digest, size: Buffer.byteLength(data) };
    };
    let broken = "";
    before(async () => {
      // The daemon reaches only its own namespace: the registry is served there, through a forwarder in there.
      server = createServer((request, response) => {
        const [, kind, which = ""] = /^\/v2\/made\/(manifests|blobs)\/(.+)$/.exec(request.url ?? "") ?? [];
        const blob = blobs.get(which === "latest" ? latest : which);
        if (request.url === "/v2/") return void response.end("{}");
        if (blob === undefined) return void response.writeHead(404).end("{}");
        if (which === broken) {
          response.writeHead(200, { "content-length": String(blob.length) });
          response.write(blob.subarray(0, 1000));
          return void setTimeout(() => response.destroy(), 50);
        }
        const media =
          kind === "manifests"
            ? (JSON.parse(blob.toString()) as { mediaType: string }).mediaType
            : "application/octet-stream";
        response.writeHead(200, { "content-type": media }).end(blob);
      });
      const path = join(host.directory, "made.sock");
      await new Promise<void>((resolve) => server.listen(path, resolve));
      address = "127.0.0.1:5002";
      forwarder = spawn(
        "nsenter",
        [
          `--net=${host.namespace}`,
          process.execPath,
          "-e",
          `require("node:net").createServer(c=>{const s=require("node:net").connect(${JSON.stringify(path)});c.pipe(s).pipe(c);c.on("error",()=>s.destroy());s.on("error",()=>c.destroy());s.on("close",()=>c.destroy())}).listen(5002,"127.0.0.1")`,
        ],
        { stdio: "ignore" },
      );
      await listens(host, 5002);
    });
    let forwarder: ChildProcess | undefined;
    let latest = "";
    after(async () => {
      await end(forwarder);
      server.close();
    });

    it("takes this machine's entry of a list, and leaves nothing when it breaks off", async () => {
      const layer = put(readFileSync(join(host.directory, "images/busybox-root.tar")));
      const config = (architecture: string) =>
        put(
          JSON.stringify({
            architecture,
            os: "linux",
            config: { Cmd: ["echo", architecture] },
            rootfs: { type: "layers", diff_ids: [layer.digest] },
          }),
        );
      const mediaType = "application/vnd.oci.image.manifest.v1+json";
      const manifest = (architecture: string) =>
        put(
          JSON.stringify({
            schemaVersion: 2,
            mediaType,
            config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config(architecture) },
            layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", ...layer }],
          }),
        );
      const own = process.arch === "x64" ? "amd64" : "arm64";
      const entries = ["riscv64", own].map((architecture) => ({
        mediaType,
        ...manifest(architecture),
        platform: { os: "linux", architecture },
      }));
      latest = put(
        JSON.stringify({ schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: entries }),
      ).digest;
      await host.docker("rmi", "-f", ...(await host.docker("images", "-q")).split("\n"));
      await host.docker("image", "prune", "-af");
      broken = layer.digest;
      const cut = await host.try(["pull", `${address}/made`]);
      assert.equal(cut.status, 1, cut.stdout);
      assert.equal(await host.docker("images", "-aq"), "");
      await host.auditIsZero();
      broken = "";
      assert.equal(await host.docker("run", "--rm", `${address}/made`), own);
      const other = await host.try(["pull", "--platform", "linux/s390x", `${address}/made`]);
      assert.match(other.stderr, /no matching manifest for linux\/s390x in the manifest list entries$/m);
      const foreign = await host.docker("create", "--platform", "linux/riscv64", `${address}/made`);
      assert.match(foreign, /[0-9a-f]{64}$/, "what is here is for another platform: the client pulls");
      assert.equal(await host.docker("image", "inspect", "-f", "{{.Architecture}}", `${address}/made`), "riscv64");
      await host.docker("rm", foreign.slice(-64));
      const back = await host.docker("run", "--rm", "--platform", `linux/${own}`, `${address}/made`);
      assert.match(back, new RegExp(`${own}$`));
      const none = await host.try(["run", "--rm", "--platform", "linux/s390x", `${address}/made`]);
      assert.equal(none.status, 125);
      assert.match(
        none.stderr,
        /^Unable to find image .*\n[^]*no matching manifest for linux\/s390x in the manifest list/,
      );
      const { status, body } = await host.call("POST", "/containers/create?platform=linux/s390x", {
        Image: `${address}/made`,
      });
      assert.deepEqual([status, JSON.parse(body)], [404, { message: `No such image: ${address}/made:latest` }]);
      // A single manifest, without a list of platforms.
      latest = entries[1]?.digest ?? "";
      const single = await host.try(["pull", "--platform", "linux/s390x", `${address}/made`]);
      assert.match(
        single.stderr,
        new RegExp(`was found but does not match the specified platform: wanted linux/s390x, actual: linux/${own}`),
      );
    });
  });
});
