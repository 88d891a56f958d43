import { conflict, EngineError, invalid, notFound } from "../../lib/errors.ts";
import type { ContainerdClient } from "../containerd/client.ts";
import type { Images, OnProgress, RegistryAuth } from "../runtime.ts";
import { applyChanges } from "./changes.ts";
import { readBlob, writeBlob } from "./content.ts";
import { type ConfigDocument, ImageStore, type Record } from "./image-store.ts";
import { askRegistry } from "./distribution.ts";
import { Leases } from "./lease.ts";
import { layerDescriptor, loadArchive } from "./load.ts";
import { readPlatform } from "./platform.ts";
import { pullImage } from "./pull.ts";
import { familiar, fullName, parseReference, repositoryOf, withTag } from "./reference.ts";
import { Repository } from "./registry.ts";
import { saveArchive } from "./save.ts";
import { decompressed, readFile, withSpool } from "./spool.ts";
import { unpackLayer, writeImage } from "./unpack.ts";

export interface ImageParts {
  readonly client: ContainerdClient;
  readonly dataRoot: string;
  readonly insecureRegistries: readonly string[];
  readonly log: { info(fields: object, message: string): void };
}
export interface RuntimeImages extends Images {
  readonly store: ImageStore;
  /** Ends what broke off with the last daemon. */
  recover(): Promise<void>;
  /** Leases that nobody has. */
  leftOvers(): Promise<string[]>;
}

/** The images of one containerd namespace. */
export function createImages(parts: ImageParts): RuntimeImages {
  const { client } = parts;
  const store = new ImageStore(client);
  const leases = new Leases(client);
  const repository = (
    reference: { domain: string; path: string },
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ) => new Repository(reference, auth, parts.insecureRegistries, signal);
  return {
    store,
    recover: () => leases.sweep(),
    leftOvers: async () => (await leases.strays()).map((id) => `leases/${id}`),
    async list() {
      const records = await store.records();
      return Promise.all([...new Set(records.map((r) => r.imageId))].map((id) => store.image(id, records)));
    },
    async find(reference, platform = "") {
      const id = await store.find(reference);
      if (platform !== "") await store.checkPlatform(id, platform, reference);
      return store.image(id, await store.records());
    },
    async pull(reference, { platform, auth, allTags = false }, onProgress, signal) {
      const parsed = parseReference(reference);
      const from = repository(parsed, auth, signal);
      const tags = allTags ? await from.tags() : [withTag(parsed).digest ?? withTag(parsed).tag ?? ""];
      for (const which of tags)
        await leases.with((lease) => pullOne(parts.client, store, from, parsed, which, platform, lease, onProgress));
    },
    async distribution(reference, auth, signal) {
      const parsed = withTag(parseReference(reference));
      return askRegistry(repository(parsed, auth, signal), parsed.digest ?? parsed.tag ?? "");
    },
    async push(reference, auth, onProgress, signal) {
      const parsed = withTag(parseReference(reference));
      const record = (await store.records()).find((r) => r.name === fullName(parsed));
      if (record === undefined)
        throw notFound(`An image does not exist locally with the tag: ${familiar(repositoryOf(parsed))}`);
      await pushImage(client, store, repository(parsed, auth, signal), record, parsed.tag ?? "latest", onProgress);
    },
    load: (archive, onProgress) =>
      leases.with((lease) =>
        withSpool(parts.dataRoot, (spool) => loadArchive({ client, store }, archive, spool, lease, onProgress)),
      ),
    save: (references) => saveArchive(client, store, references),
    import: (archive, options) => importImage(parts, store, leases, archive, options),
    async tag(source, target) {
      const id = await store.find(source);
      const reference = parseReference(target);
      if (reference.digest !== undefined) throw invalid("refusing to create a tag with a digest reference");
      const record = (await store.records()).find((r) => r.imageId === id);
      if (record !== undefined) await store.name(fullName(reference), record.target);
    },
    remove: (reference, options) => removeImage(store, reference, options),
    async login(auth) {
      const server = (auth.serveraddress ?? "https://index.docker.io/v1/")
        .replace(/^https?:\/\//, "")
        .replace(/\/.*$/, "");
      const domain = server === "index.docker.io" || server === "" ? "docker.io" : server;
      await repository({ domain, path: "" }, auth, AbortSignal.timeout(30_000)).login();
      return { status: "Login Succeeded", identityToken: "" };
    },
  };
}

async function pullOne(
  client: ContainerdClient,
  store: ImageStore,
  from: Repository,
  parsed: ReturnType<typeof parseReference>,
  which: string,
  platform: string | undefined,
  lease: string,
  onProgress: OnProgress,
): Promise<void> {
  const name = repositoryOf(parsed);
  const shown = familiar(name);
  const { target, digest } = await pullImage(
    client,
    from,
    { path: parsed.path, which, ...(platform !== undefined && { platform }) },
    lease,
    onProgress,
  );
  const before = (await store.records()).find((r) => r.name === `${name}:${which}` || r.name === `${name}@${which}`);
  if (!which.startsWith("sha256:")) await store.name(`${name}:${which}`, target);
  await store.name(`${name}@${digest}`, target);
  onProgress({ status: `Digest: ${digest}` });
  const full = `${shown}${which.startsWith("sha256:") ? "@" : ":"}${which}`;
  const same = before?.target.digest === target.digest;
  onProgress({
    status: same ? `Status: Image is up to date for ${full}` : `Status: Downloaded newer image for ${full}`,
  });
}

async function pushImage(
  client: ContainerdClient,
  store: ImageStore,
  to: Repository,
  record: Record,
  tag: string,
  onProgress: OnProgress,
): Promise<void> {
  const manifest = await store.manifest(record.target.digest);
  onProgress({ status: `The push refers to repository [${record.name.replace(/:[^:/]*$/, "")}]` });
  for (const blob of [...manifest.layers, manifest.config]) {
    const id = blob.digest.slice(7, 19);
    if (blob !== manifest.config) onProgress({ status: "Preparing", progressDetail: {}, id });
    const there = await to.hasBlob(blob.digest);
    if (!there) await to.pushBlob(blob.digest, readBlob(client, blob.digest), Number(blob.size));
    if (blob !== manifest.config)
      onProgress({ status: there ? "Layer already exists" : "Pushed", progressDetail: {}, id });
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of readBlob(client, record.target.digest)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  await to.pushManifest(tag, bytes, record.target.mediaType);
  await store.name(`${record.name.replace(/:[^:/]*$/, "")}@${record.target.digest}`, record.target);
  onProgress({ status: `${tag}: digest: ${record.target.digest} size: ${bytes.length}` });
}

/** One layer from a tar of a root file system. */
async function importImage(
  { client, dataRoot }: ImageParts,
  store: ImageStore,
  leases: Leases,
  archive: AsyncIterable<Uint8Array>,
  options: Parameters<Images["import"]>[1],
): Promise<string> {
  const name =
    options.reference === undefined || options.reference === ""
      ? undefined
      : fullName(parseReference(options.reference));
  const runConfig = applyChanges({}, options.changes);
  const { os, architecture } = readPlatform(options.platform);
  return leases.with((lease) =>
    withSpool(dataRoot, async (spool) => {
      const file = await spool.write(decompressed(archive));
      const layer = layerDescriptor(file);
      const created = new Date().toISOString();
      const config: ConfigDocument = {
        architecture,
        os,
        created,
        config: runConfig,
        rootfs: { type: "layers", diff_ids: [layer.digest] },
        history: [{ created, comment: options.message || "Imported from -" }],
      };
      await writeBlob(client, layer, readFile(file.path), {}, lease);
      await unpackLayer(client, layer, [layer.digest], 0, lease);
      const target = await writeImage(client, Buffer.from(JSON.stringify(config)), [layer], lease);
      if (name === undefined) await store.nameDangling(target);
      else await store.name(name, target);
      return (await store.manifest(target.digest)).config.digest;
    }),
  );
}

/** Docker's rules (moby daemon/images/image_delete.go): a name goes alone while there are others; the last takes the image along. */
async function removeImage(
  store: ImageStore,
  reference: string,
  { force, inUse }: Parameters<Images["remove"]>[1],
): ReturnType<Images["remove"]> {
  const id = await store.find(reference);
  const own = (await store.records()).filter((r) => r.imageId === id);
  const tags = own.filter((r) => !r.name.includes("@"));
  const byId =
    id === reference || id.slice(7).startsWith(reference.replace(/^sha256:/, ""))
      ? !own.some((r) => r.name === nameOrNot(reference))
      : false;
  const named = byId ? own : own.filter((r) => r.name === nameOrNot(reference));
  const repositories = new Set(tags.map((r) => r.name.replace(/:[^:/]*$/, "")));
  const short = id.slice(7, 19);
  if (byId && repositories.size > 1 && !force)
    throw conflict(
      `conflict: unable to delete ${short} (must be forced) - image is referenced in multiple repositories`,
    );
  const shown = (name: string) => familiar(name);
  const untag = async (records: readonly Record[], collect: boolean) => {
    const done: { untagged: string }[] = [];
    for (const [at, record] of records.entries()) {
      await store.forget(record.name, collect && at === records.length - 1);
      if (!record.name.startsWith("tombolo.invalid/")) done.push({ untagged: shown(record.name) });
    }
    return done;
  };
  if (!byId && tags.length > 1) return untag(named, false);
  const holder = inUse(id);
  if (holder !== undefined && !(force && !byId))
    throw conflict(
      byId
        ? `conflict: unable to delete ${short} (cannot be forced) - image is being used by container ${holder.slice(0, 12)}`
        : `conflict: unable to remove repository reference "${reference}" (must force) - container ${holder.slice(0, 12)} is using its referenced image ${short}`,
    );
  if (holder !== undefined) {
    const [last] = own;
    if (last !== undefined) await store.nameDangling(last.target);
    return untag(own, false);
  }
  const { rootfs } = await store.config(id);
  const done = await untag(own, true);
  return [...done, { deleted: id }, ...(rootfs?.diff_ids ?? []).toReversed().map((layer) => ({ deleted: layer }))];
}

function nameOrNot(reference: string): string | undefined {
  try {
    return fullName(parseReference(reference));
  } catch (error) {
    if (error instanceof EngineError) return undefined;
    throw error;
  }
}
