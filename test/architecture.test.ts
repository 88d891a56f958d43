import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, it } from "node:test";

/** Who may import whom, and why not more. A folder stands for everything under it. */
const may: Readonly<Record<string, { readonly imports: readonly string[]; readonly reason: string }>> = {
  lib: { imports: [], reason: "arithmetic and plumbing know no domain words" },
  model: { imports: ["lib"], reason: "what things are does not depend on what is done with them" },
  kernel: { imports: ["lib", "model"], reason: "it speaks to Linux and has no policy" },
  store: { imports: ["model", "lib"], reason: "rows do not know who keeps them for what" },
  ipam: { imports: ["store", "model", "lib"], reason: "addresses are chosen from rows alone" },
  drivers: { imports: ["model", "lib"], reason: "a driver is pure: it could not do I/O if it wanted" },
  balancers: { imports: ["model", "lib"], reason: "a balancer is pure, as a driver is" },
  dataplane: {
    imports: ["kernel", "store", "drivers", "balancers", "model", "lib"],
    reason: "it makes the kernel match and decides nothing else",
  },
  dns: { imports: ["store", "kernel", "model", "lib"], reason: "it answers from rows, inside a namespace" },
  wireguard: {
    imports: ["dataplane/dataplane.ts", "kernel", "runtime/supervisor.ts", "store", "model", "lib"],
    reason: "it looks after a program; what that encrypts is the plans' business",
  },
  lan: { imports: ["kernel", "model", "lib"], reason: "it speaks on the wire and keeps no rows" },
  runtime: { imports: ["kernel/files.ts", "model", "lib"], reason: "containerd's part knows nothing of networks" },
  cluster: {
    imports: ["store", "ipam", "model", "lib"],
    reason: "membership and certificates; it does not know how containers run",
  },
  engine: {
    imports: [
      ...["cluster", "store", "ipam", "drivers", "balancers/balancer.ts", "runtime", "dataplane/dataplane.ts"],
      ...["model", "lib"],
    ],
    reason: "verbs use parts by their interfaces",
  },
  api: {
    imports: ["engine", "model", "lib", "runtime/runtime.ts"],
    reason: "rows have one writer: the API never sees the store",
  },
  lab: { imports: ["lib"], reason: "it is a user of the daemon, as the docker command is: it shares no code with it" },
};
const files = globSync("src/**/*.ts").filter((f) => !f.includes("/gen/"));
const imports = (file: string) =>
  [...readFileSync(file, "utf8").matchAll(/^(?:import|export)[^;]*?from "(\.[^"]+)"/gms)].map(([, path = ""]) =>
    normalize(join(dirname(file), path)),
  );
const folderOf = (path: string) => path.split("/")[1] ?? "";
const isTest = (file: string) => /\.test\.ts$|[/-]testing\.ts$/.test(file);

describe("who imports whom", () => {
  for (const [folder, { imports: allowed, reason }] of Object.entries(may))
    it(`${folder}: ${reason}`, () => {
      for (const file of files.filter((f) => f.startsWith(`src/${folder}/`) && !isTest(f)))
        for (const path of imports(file)) {
          const fits = [folder, ...allowed].some((a) => path === `src/${a}` || path.startsWith(`src/${a}/`));
          assert.ok(fits, `${file} imports ${path}: ${reason}`);
        }
    });

  it("no driver imports another: a driver must be deletable", () => {
    for (const file of files.filter((f) => /^src\/drivers\/[^/]+\//.test(f) && !isTest(f)))
      for (const path of imports(file)) {
        const other = /^src\/drivers\/([^/]+)\//.exec(path)?.[1];
        assert.ok(other === undefined || file.startsWith(`src/drivers/${other}/`), `${file} imports ${path}`);
      }
  });

  it("in cluster, calls and orchestration know nothing of managers and nodes, nor managers of the node that they are on", () => {
    for (const file of files.filter((f) => /^src\/cluster\/(calls|orchestration)\//.test(f) && !isTest(f)))
      for (const path of imports(file)) assert.doesNotMatch(path, /^src\/cluster\/(node|manager|etcd)\//, file);
    for (const file of files.filter((f) => /^src\/cluster\/(manager|etcd)\//.test(f) && !isTest(f)))
      for (const path of imports(file)) assert.doesNotMatch(path, /^src\/cluster\/node\//, file);
  });

  it("only tests import tests: what runs must not need test/, *.test.ts or testing.ts", () => {
    for (const file of files.filter((f) => !isTest(f)))
      for (const path of imports(file))
        assert.ok(!path.startsWith("test/") && !isTest(path), `${file} imports ${path}`);
  });

  it("nobody imports daemon or bin: they stand above everything", () => {
    for (const file of files.filter((f) => !isTest(f) && !/^src\/(daemon|bin)\//.test(f)))
      for (const path of imports(file))
        assert.ok(!["daemon", "bin"].includes(folderOf(path)), `${file} imports ${path}`);
  });

  it("only bin imports lab: no daemon makes hosts", () => {
    for (const file of files.filter((f) => !isTest(f) && !/^src\/(lab|bin)\//.test(f)))
      for (const path of imports(file)) assert.notEqual(folderOf(path), "lab", `${file} imports ${path}`);
  });
});

it("only the kernel layer calls the C library: the fake must be complete", () => {
  for (const file of files.filter((f) => !f.startsWith("src/kernel/")))
    assert.doesNotMatch(readFileSync(file, "utf8"), /from "koffi"/, file);
});

/** Programs that outlive a call, started when the daemon starts; and the lab, which is no part of the daemon. */
const starters = ["src/lib/lasting-program.ts", "src/runtime/create-runtime.ts", "src/lab/command.ts"];
it("no path that serves a call starts a child process", () => {
  for (const file of files.filter((f) => !starters.includes(f) && !isTest(f)))
    assert.doesNotMatch(readFileSync(file, "utf8"), /node:child_process/, file);
});

it("a file has at most 500 lines: beyond, it is two rooms in one", () => {
  for (const file of [...files, ...globSync("{test,tools,bench}/**/*.ts")])
    assert.ok(readFileSync(file, "utf8").split("\n").length <= 500, file);
});
