import type { NodeRole } from "../../model/cluster.ts";
import type { Credentials } from "../calls/control-server.ts";
import { keyOf, type NodeFiles, type NodeFolder, type NodeState } from "../identity/node-files.ts";
import { sealed, unsealed } from "../identity/seal.ts";
import { readStoreKeys, type StoreKeys, storeKeysText } from "../etcd/store-keys.ts";

/** What this node keeps on its disk, with its keys in clear: on the disk they are sealed while the swarm is locked. */
export class OwnFiles {
  readonly #folder: NodeFolder;
  #files: NodeFiles;
  #key: string;
  #unlockKey: Buffer | undefined;

  /** @throws {EngineError} unauthorized when the files are sealed with another key */
  constructor(folder: NodeFolder, files: NodeFiles, unlockKey: Buffer | undefined) {
    this.#folder = folder;
    this.#files = files;
    this.#unlockKey = unlockKey;
    this.#key = keyOf(files, unlockKey ?? Buffer.alloc(0));
  }

  get state(): NodeState {
    return this.#files.state;
  }
  /** By which the keys on the disk are sealed, if they are. */
  get unlockKey(): Buffer | undefined {
    return this.#unlockKey;
  }
  /** What this node shows to others. */
  get credentials(): Credentials {
    return { key: this.#key, certificate: this.#files.certificate, roots: this.#files.roots };
  }
  /** True of a node whose etcd has a vote. */
  get hasStoreKeys(): boolean {
    return this.#files.etcd !== undefined;
  }
  /** @throws {Error} where there are none */
  get storeKeys(): StoreKeys {
    return readStoreKeys(unsealed(this.#files.etcd ?? "", this.#unlockKey));
  }

  /** Where managers are. */
  setManagers(managers: readonly string[]): Promise<void> {
    return this.#change((files) => ({ ...files, state: { ...files.state, managers } }));
  }

  setRoots(roots: string): Promise<void> {
    return this.#change((files) => ({ ...files, roots }));
  }

  /** A new certificate with its key, and the role that it gives. */
  async renew({ key, certificate, roots }: Credentials, role: NodeRole): Promise<void> {
    const own = { certificate, roots, key: sealed(key, this.#unlockKey) };
    await this.#change((files) => ({ ...files, ...own, state: { ...files.state, role } }));
    this.#key = key;
  }

  setStoreKeys(keys: StoreKeys): Promise<void> {
    return this.#change((files) => ({ ...files, etcd: sealed(storeKeysText(keys), this.#unlockKey) }));
  }

  dropStoreKeys(): Promise<void> {
    return this.#change(({ etcd: _, ...files }) => files);
  }

  /** The keys on the disk are sealed with this unlock key from now on; undefined: with none. */
  async lock(key: Buffer | undefined): Promise<void> {
    const isSame = key === undefined ? this.#unlockKey === undefined : this.#unlockKey?.equals(key) === true;
    if (isSame) return;
    const etcd = this.#files.etcd === undefined ? undefined : unsealed(this.#files.etcd, this.#unlockKey);
    this.#unlockKey = key;
    await this.#change((files) => ({
      ...files,
      key: sealed(this.#key, key),
      ...(etcd !== undefined && { etcd: sealed(etcd, key) }),
    }));
  }

  async #change(change: (files: NodeFiles) => NodeFiles): Promise<void> {
    this.#files = await this.#folder.update((files) => change(files ?? this.#files));
  }
}
