import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { conflict, notFound } from "../../lib/errors.ts";
import { code, type ContainerdClient, hasCode, snapshotter, unlessMissing } from "../containerd/client.ts";
import type { Image, ImageConfig } from "../runtime.ts";
import { type Descriptor, readDocument, sha256 } from "./content.ts";
import { fits, type Platform, readPlatform } from "./platform.ts";
import { familiar, fullName, parseReference } from "./reference.ts";

/** OCI image specification, manifest.md; Docker's schema 2 has the same shape. */
export interface Manifest {
  readonly schemaVersion: 2;
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}
/** OCI image specification, config.md. */
export interface ConfigDocument {
  readonly architecture?: string;
  readonly os?: string;
  readonly variant?: string;
  readonly created?: string;
  readonly author?: string;
  readonly comment?: string;
  readonly config?: ImageConfig;
  readonly rootfs?: { readonly type?: string; readonly diff_ids?: readonly string[] };
  readonly history?: readonly {
    readonly created?: string;
    readonly created_by?: string;
    readonly comment?: string;
    readonly empty_layer?: boolean;
  }[];
}

export const mediaTypes = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
} as const;
/** Names of images whose last tag went to another: containerd keeps what has a name. */
const danglingPrefix = "tombolo.invalid/dangling@";
const zero = "0001-01-01T00:00:00Z";

/** One of containerd's names, with what it names. */
export interface Record {
  readonly name: string;
  readonly target: Descriptor;
  readonly imageId: string;
  readonly createdAt: Timestamp | undefined;
}

/** Images as containerd has them: names, manifests, configurations, layers. What never changes is read once. */
export class ImageStore {
  readonly #client: ContainerdClient;
  readonly #manifests = new Map<string, Manifest>();
  readonly #configs = new Map<string, ConfigDocument>();
  readonly #sizes = new Map<string, number>();

  constructor(client: ContainerdClient) {
    this.#client = client;
  }

  async manifest(digest: string): Promise<Manifest> {
    const known = this.#manifests.get(digest) ?? (await readDocument<Manifest>(this.#client, digest));
    this.#manifests.set(digest, known);
    return known;
  }
  async config(imageId: string): Promise<ConfigDocument> {
    const known = this.#configs.get(imageId) ?? (await readDocument<ConfigDocument>(this.#client, imageId));
    this.#configs.set(imageId, known);
    return known;
  }

  /** Chain id of an image's top layer: the snapshot that a container's own layer stands on; "" for an image without layers. */
  async chainOf(imageId: string): Promise<string> {
    return chainIds((await this.config(imageId)).rootfs?.diff_ids ?? []).at(-1) ?? "";
  }

  async records(): Promise<Record[]> {
    const { images } = await this.#client.images.list({});
    const records = images.map(async ({ name, target, createdAt }): Promise<Record | undefined> => {
      if (target === undefined) return undefined;
      const manifest = await unlessMissing(this.manifest(target.digest));
      if (manifest === undefined) return undefined;
      const { mediaType, digest, size } = target;
      return { name, target: { mediaType, digest, size: Number(size) }, imageId: manifest.config.digest, createdAt };
    });
    return (await Promise.all(records)).filter((r) => r !== undefined);
  }

  /** The image that a name, an id or the beginning of an id means. @throws {EngineError} not-found; conflict when ambiguous */
  async find(reference: string): Promise<string> {
    const records = await this.records();
    const ids = new Set(records.map((r) => r.imageId));
    const whole = reference.startsWith("sha256:") ? reference : `sha256:${reference}`;
    if (ids.has(whole)) return whole;
    const named = records.find((r) => r.name === nameOf(reference));
    if (named !== undefined) return named.imageId;
    const short = /^(?:sha256:)?([0-9a-f]{1,64})$/.exec(reference)?.[1];
    const matching = short === undefined ? [] : [...ids].filter((id) => id.startsWith(`sha256:${short}`));
    if (matching.length > 1)
      throw conflict(`image reference ${reference} is ambiguous: ${matching.length} images have an id that begins so`);
    if (matching[0] === undefined) throw notFound(`No such image: ${shownName(reference)}`);
    return matching[0];
  }

  /** @throws {EngineError} not-found when the image is for another platform than a user's `linux/arm64` */
  async checkPlatform(imageId: string, platform: string, reference: string): Promise<void> {
    const wanted = readPlatform(platform);
    if (!fits(platformOf(await this.config(imageId)), wanted)) throw notFound(`No such image: ${shownName(reference)}`);
  }

  async image(imageId: string, records: readonly Record[]): Promise<Image> {
    const document = await this.config(imageId);
    const own = records.filter((r) => r.imageId === imageId && !r.name.startsWith(danglingPrefix));
    const digest = (r: Record) => `${familiar(r.name.replace(/(@.*|:[^:/]*)$/, ""))}@${r.target.digest}`;
    const history = document.history ?? [];
    const sizes = await this.#layerSizes(document.rootfs?.diff_ids ?? []);
    return {
      id: imageId,
      tags: own.filter((r) => !r.name.includes("@")).map((r) => familiar(r.name)),
      digests: [...new Set(own.filter((r) => r.name.includes("@")).map(digest))],
      createdAt: document.created ?? zero,
      author: document.author ?? "",
      comment: document.comment ?? history.at(-1)?.comment ?? "",
      architecture: document.architecture ?? "",
      os: document.os ?? "linux",
      size: sizes.reduce((sum, size) => sum + size, 0),
      layerSizes: sizes,
      config: document.config ?? {},
      layers: document.rootfs?.diff_ids ?? [],
      history: history.map((h) => ({
        createdAt: h.created ?? zero,
        createdBy: h.created_by ?? "",
        comment: h.comment ?? "",
        size: 0,
      })),
    };
  }

  async #layerSizes(diffIds: readonly string[]): Promise<number[]> {
    const sizes = chainIds(diffIds).map(async (key) => {
      const known =
        this.#sizes.get(key) ??
        Number((await unlessMissing(this.#client.snapshots.usage({ snapshotter, key })))?.size ?? 0);
      this.#sizes.set(key, known);
      return known;
    });
    return Promise.all(sizes);
  }

  /** Gives a manifest a name. Another image that had it keeps a name of its own, without a tag. */
  async name(name: string, target: Descriptor): Promise<void> {
    const before = (await unlessMissing(this.#client.images.get({ name })))?.image?.target;
    if (before?.digest === target.digest) return;
    if (before !== undefined) await this.#keepDangling(name);
    await this.#put(name, target);
    await this.forget(danglingPrefix + target.digest);
  }

  /** An image without a tag. */
  nameDangling(target: Descriptor): Promise<void> {
    return this.#put(danglingPrefix + target.digest, target);
  }

  async #put(name: string, target: Descriptor): Promise<void> {
    const image = { name, target: { ...target, size: BigInt(target.size) } };
    try {
      await this.#client.images.create({ image });
    } catch (error) {
      if (!hasCode(error, code.exists)) throw error;
      await this.#client.images.update({ image, updateMask: { paths: ["target"] } });
    }
  }

  async #keepDangling(name: string): Promise<void> {
    const records = await this.records();
    const own = records.find((r) => r.name === name);
    const others = records.filter((r) => r.imageId === own?.imageId && r.name !== name && !r.name.includes("@"));
    if (own !== undefined && others.length === 0) await this.nameDangling(own.target);
  }

  /** Takes a name away. With `collect`, what only it kept is gone when this returns. */
  async forget(name: string, collect = false): Promise<void> {
    await unlessMissing(this.#client.images.delete({ name, sync: collect }));
  }
}

/** What an image says that it is made for. */
export const platformOf = ({ os = "linux", architecture = "", variant }: ConfigDocument): Platform => ({
  os,
  architecture,
  ...(variant !== undefined && { variant }),
});

/** Each layer's name in the snapshotter: itself and all below it (OCI image specification, config.md, "Layer ChainID"). */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : sha256(`${below} ${diffId}`));
  }
  return chain;
}

/** containerd's name for what the user typed; undefined for what cannot be a name. */
function nameOf(reference: string): string | undefined {
  try {
    return fullName(parseReference(reference));
  } catch {
    return undefined;
  }
}

const shownName = (reference: string) =>
  nameOf(reference) === undefined ? reference : familiar(nameOf(reference) ?? "");
