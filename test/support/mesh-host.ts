import { createInterface } from "node:readline";
import { defaultBalancer } from "../../src/balancers/index.ts";
import { createDataplane } from "../../src/dataplane/create-dataplane.ts";
import { drivers } from "../../src/drivers/index.ts";
import type { Kernel, Step } from "../../src/kernel/kernel.ts";
import { createKernel } from "../../src/kernel/linux-kernel.ts";
import { keyOf, type NamespaceName } from "../../src/model/plan.ts";
import { createMemoryStore } from "../../src/store/memory-store.ts";
import { keys, type TableName, type Tables } from "../../src/store/tables.ts";
import { serve } from "./mesh-server.ts";

/** A row to be written, or the key of one to be deleted. */
export type RowChange = { readonly [T in TableName]: readonly [table: T, row: Tables[T] | string] }[TableName];
/** What a host is told, a line of JSON each, and answers with another. */
export type Order =
  | { readonly verb: "commit"; readonly changes: readonly RowChange[] }
  /** The rows change while nobody looks. */
  | { readonly verb: "restart"; readonly changes: readonly RowChange[] }
  | { readonly verb: "audit" | "stop" }
  /** Answers connections and datagrams to a port with its name and the address of who asks. */
  | { readonly verb: "serve"; readonly namespace: NamespaceName; readonly name: string; readonly port: number };

/** The data plane of one host of several, in the namespace in which this program is started. */
class Host {
  readonly #directory: string;
  readonly #store = createMemoryStore();
  #steps: Step[] = [];
  #kernel: Kernel;
  #dataplane;

  constructor(directory: string) {
    this.#directory = directory;
    [this.#kernel, this.#dataplane] = this.#open();
  }

  #open(): readonly [Kernel, ReturnType<typeof createDataplane>] {
    const real = createKernel({ netnsDir: this.#directory, engine: "mesh" });
    const apply = (steps: readonly Step[]) => {
      this.#steps.push(...steps);
      real.apply(steps);
    };
    const kernel: Kernel = { ...real, apply };
    const log = {
      info() {},
      warn: ({ err, ...fields }: { readonly err?: Error }, message: string) =>
        console.error(message, err?.message, fields),
    };
    const dataplane = createDataplane({
      store: this.#store,
      kernel,
      driverFor: (name) => drivers[name],
      balancer: defaultBalancer,
      log,
    });
    return [kernel, dataplane];
  }

  start(): Promise<void> {
    return this.#dataplane.start();
  }

  /** @returns the steps that it took, when the kernel has taken them */
  async commit(changes: readonly RowChange[]): Promise<string[]> {
    this.#steps = [];
    const revision = await this.#write(changes);
    await this.#dataplane.settled("host", revision);
    for (const [table, row] of changes)
      if (table === "endpoints" && typeof row !== "string")
        await this.#dataplane.settled(`endpoint:${keys[table](row)}`, revision);
    return this.#steps.map(({ verb, object }) => `${verb} ${keyOf(object)}`);
  }

  async #write(changes: readonly RowChange[]): Promise<number> {
    const { revision } = await this.#store.update((tx) => {
      for (const [table, row] of changes)
        if (typeof row === "string") tx.delete(table, row);
        else tx.put(table, row as Tables[TableName]);
    });
    return revision;
  }

  async audit(): Promise<unknown> {
    return (await this.#dataplane.audit()).map(({ what, key, owner }) => `${what} ${key} (${owner})`);
  }

  /** @returns the steps that a data plane took which knew nothing */
  async restart(changes: readonly RowChange[]): Promise<string[]> {
    await this.#dataplane.stop();
    this.#kernel.close();
    await this.#write(changes);
    this.#steps = [];
    [this.#kernel, this.#dataplane] = this.#open();
    await this.start();
    return this.#steps.map(({ verb, object }) => `${verb} ${keyOf(object)}`);
  }

  async obey(order: Order): Promise<unknown> {
    if (order.verb === "commit") return this.commit(order.changes);
    if (order.verb === "serve") return this.#kernel.inside(order.namespace, () => serve(order.name, order.port));
    if (order.verb === "audit") return this.audit();
    if (order.verb === "restart") return this.restart(order.changes);
    await this.#dataplane.stop();
    for (const namespace of this.#kernel.namespaces())
      this.#kernel.apply([{ verb: "remove", object: { kind: "namespace", namespace } }]);
    this.#kernel.close();
    process.exit();
  }
}

const [directory] = process.argv.slice(2);
if (directory !== undefined) {
  const host = new Host(directory);
  await host.start();
  console.log('"ready"');
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      console.log(JSON.stringify((await host.obey(JSON.parse(line) as Order)) ?? null));
    } catch (error) {
      console.log(JSON.stringify({ error: (error as Error).stack }));
    }
  }
}
