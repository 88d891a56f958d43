import { createPrivateKey, randomUUID, type X509Certificate } from "node:crypto";
import { dirname, join } from "node:path";
import { z } from "zod";
import { KeyedLock } from "../../lib/keyed-lock.ts";
import { chainOf, identityOf, readCertificates } from "./certificate.ts";
import { type Disk, disk } from "./disk.ts";
import { isSealed, type Sealed, unseal } from "./seal.ts";

const stateForm = z.object({
  nodeId: z.string(),
  role: z.enum(["worker", "manager"]),
  clusterId: z.string(),
  /** `address:port` of the managers last heard of. */
  managers: z.array(z.string()).readonly(),
  listenAddress: z.string(),
  advertiseAddress: z.string(),
  dataPathAddress: z.string(),
});
export type NodeState = Readonly<z.output<typeof stateForm>>;

/** What a node keeps of its swarm, apart from the store. */
export interface NodeFiles {
  readonly state: NodeState;
  /** PEM: the node's certificate, and a cross certificate while the root is rotated. */
  readonly certificate: string;
  /** PEM, or sealed when the swarm is locked (`unseal`). */
  readonly key: string | Sealed;
  /** PEM of the roots that the node trusts. */
  readonly roots: string;
  /** Of a manager: the keys of the cluster's store (store-keys.ts); sealed when the swarm is locked. */
  readonly etcd?: string | Sealed;
}

/** MISSING: a file is not there. UNREADABLE: it is no such file. MISFIT: two do not belong together. No message holds a key. */
export class NodeFilesError extends Error {
  override readonly name = "NodeFilesError";
  readonly code: "MISSING" | "UNREADABLE" | "MISFIT";
  constructor(code: NodeFilesError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const names = { state: "state.json", certificate: "node.crt", key: "node.key", roots: "roots.pem" } as const;
const etcdName = "etcd.pem";
const current = "current";

/**
 * The node's files, in a directory that is theirs alone. They lie in a folder to which the link `current` points; a change
 * writes a new folder and moves the link (rename(2) is atomic), so that key, certificate and role are always of one time.
 */
export class NodeFolder {
  readonly #path: string;
  readonly #disk: Disk;
  readonly #lock = new KeyedLock();

  constructor(path: string, from: Disk = disk) {
    this.#path = path;
    this.#disk = from;
  }

  /** @returns undefined when the node is in no swarm @throws {NodeFilesError} what is missing or does not fit together */
  async read(): Promise<NodeFiles | undefined> {
    return this.#lock.run("", () => this.#read());
  }

  /**
   * Replaces the files by what `change` makes of them, all or none, durable when it resolves. Changes come one after the
   * other, each on what the one before has left.
   * @throws {NodeFilesError} as `read`, and MISFIT when what `change` makes does not fit together: the old files stay
   */
  async update(change: (files: NodeFiles | undefined) => NodeFiles): Promise<NodeFiles> {
    return this.#lock.run("", async () => {
      const files = change(await this.#read());
      checkFiles(files);
      await this.#write(files);
      return files;
    });
  }

  /** Removes all of it: the node is in no swarm as soon as the link is gone. */
  async remove(): Promise<void> {
    await this.#lock.run("", async () => {
      if ((await this.#disk.list(this.#path)).length === 0) return this.#disk.remove(this.#path);
      await this.#disk.remove(join(this.#path, current));
      await this.#disk.sync(this.#path);
      await this.#disk.remove(this.#path);
    });
  }

  async #read(): Promise<NodeFiles | undefined> {
    const folder = await this.#disk.target(join(this.#path, current));
    if (folder === undefined) return undefined;
    const content = async (name: string) => {
      const path = join(this.#path, folder, name);
      return this.#disk.read(path).catch((cause: NodeJS.ErrnoException) => {
        const [code, what] =
          cause.code === "ENOENT" ? (["MISSING", "is missing"] as const) : (["UNREADABLE", "cannot be read"] as const);
        throw new NodeFilesError(code, `${path} ${what}`, { cause });
      });
    };
    const sealable = (bytes: Buffer) => (isSealed(bytes) ? bytes : bytes.toString("utf8"));
    const key = sealable(await content(names.key));
    const etcd = await content(etcdName).catch((error: unknown) => {
      if (error instanceof NodeFilesError && error.code === "MISSING") return undefined;
      throw error;
    });
    const files: NodeFiles = {
      state: readState(await content(names.state)),
      certificate: (await content(names.certificate)).toString("utf8"),
      key,
      roots: (await content(names.roots)).toString("utf8"),
      ...(etcd !== undefined && { etcd: sealable(etcd) }),
    };
    checkFiles(files);
    return files;
  }

  async #write(files: NodeFiles): Promise<void> {
    const folder = randomUUID();
    const inside = join(this.#path, folder);
    await this.#disk.makeDirectory(inside);
    await this.#disk.sync(dirname(this.#path));
    const contents = [
      [names.state, `${JSON.stringify(files.state, undefined, 2)}\n`],
      [names.certificate, files.certificate],
      [names.key, files.key],
      [names.roots, files.roots],
      ...(files.etcd === undefined ? [] : [[etcdName, files.etcd] as const]),
    ] as const;
    for (const [name, content] of contents) {
      await this.#disk.create(join(inside, name), content);
      await this.#disk.sync(join(inside, name));
    }
    await this.#disk.sync(inside);
    await this.#disk.link(folder, join(this.#path, `${folder}.link`));
    await this.#disk.rename(join(this.#path, `${folder}.link`), join(this.#path, current));
    await this.#disk.sync(this.#path);
    // Whatever a crash has left lies here too, old keys among it.
    for (const name of await this.#disk.list(this.#path))
      if (name !== current && name !== folder) await this.#disk.remove(join(this.#path, name));
  }
}

function readState(bytes: Buffer): NodeState {
  try {
    return stateForm.parse(JSON.parse(bytes.toString("utf8")));
  } catch (cause) {
    throw new NodeFilesError("UNREADABLE", `${names.state} is not a node's state`, { cause });
  }
}

/** Dates are not looked at: a node whose certificate has expired knows by its files whom to ask for another. */
function checkFiles({ state, certificate, key, roots }: NodeFiles): void {
  const [leaf, ...others] = certificatesIn(certificate, names.certificate);
  if (leaf === undefined || chainOf(leaf, others, certificatesIn(roots, names.roots)) === undefined)
    throw new NodeFilesError("MISFIT", `${names.certificate} is not of a root in ${names.roots}`);
  const identity = identityOf(leaf);
  for (const field of ["nodeId", "role", "clusterId"] as const)
    if (identity?.[field] !== state[field])
      throw new NodeFilesError("MISFIT", `${names.certificate} and ${names.state} differ in ${field}`);
  if (typeof key === "string") checkKey(leaf, key);
}

/**
 * The key of files that may be locked.
 * @throws {EngineError} unauthorized, with Docker's text, for another unlock key
 * @throws {NodeFilesError} when it is not the certificate's
 */
export function keyOf({ certificate, key }: NodeFiles, unlockKey: Buffer): string {
  if (typeof key === "string") return key;
  const pem = unseal(key, unlockKey);
  for (const leaf of certificatesIn(certificate, names.certificate).slice(0, 1)) checkKey(leaf, pem);
  return pem;
}

function certificatesIn(pem: string, name: string): readonly X509Certificate[] {
  try {
    return readCertificates(pem);
  } catch (cause) {
    throw new NodeFilesError("UNREADABLE", `${name} holds no certificate`, { cause });
  }
}

/** node:crypto's error is not passed on: it could hold the key. */
function checkKey(certificate: X509Certificate, pem: string): void {
  let fits: boolean;
  try {
    fits = certificate.checkPrivateKey(createPrivateKey(pem));
  } catch {
    throw new NodeFilesError("UNREADABLE", `${names.key} holds no private key`);
  }
  if (!fits) throw new NodeFilesError("MISFIT", `${names.key} is not the key of ${names.certificate}`);
}
