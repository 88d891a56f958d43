import { randomUUID } from "node:crypto";
import type { ContainerdClient } from "../containerd/client.ts";
import { unlessMissing } from "../containerd/client.ts";

const mark = "tombolo.lease";

/** Leases of pulls, loads and imports: what is under way belongs to one, and goes with it unless an image keeps it. */
export class Leases {
  readonly #client: ContainerdClient;
  readonly #open = new Set<string>();

  constructor(client: ContainerdClient) {
    this.#client = client;
  }

  /** Runs `body` with a lease. Afterwards containerd collects what `body` made and no image names. */
  async with<R>(body: (lease: string) => Promise<R>): Promise<R> {
    const id = randomUUID();
    this.#open.add(id);
    await this.#client.leases.create({ id, labels: { [mark]: "" } });
    try {
      return await body(id);
    } finally {
      // What broke off is collected before its caller hears of it; what succeeded is kept by its names.
      await unlessMissing(this.#client.leases.delete({ id, sync: true }));
      this.#open.delete(id);
    }
  }

  /** Leases that no pull of this process has. */
  async strays(): Promise<string[]> {
    const { leases } = await this.#client.leases.list({ filters: [`labels."${mark}"`] });
    return leases.map((l) => l.id).filter((id) => !this.#open.has(id));
  }

  async sweep(): Promise<void> {
    for (const id of await this.strays()) await unlessMissing(this.#client.leases.delete({ id, sync: true }));
  }
}
