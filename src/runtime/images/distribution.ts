import { invalid } from "../../lib/errors.ts";
import type { Distribution } from "../runtime.ts";
import { sha256 } from "./content.ts";
import { type ConfigDocument, type Manifest, platformOf } from "./image-store.ts";
import type { Platform } from "./platform.ts";
import { readConfig } from "./pull.ts";
import type { Repository } from "./registry.ts";

/**
 * What a registry has under a tag or a digest: asked, not pulled.
 * @throws {EngineError} what the registry says; invalid where it has something else than the digest says
 */
export async function askRegistry(repository: Repository, which: string): Promise<Distribution> {
  const { bytes, mediaType } = await repository.manifest(which);
  const digest = sha256(bytes);
  if (which.startsWith("sha256:") && which !== digest)
    throw invalid(`manifest verification failed for digest ${which}`);
  const document = JSON.parse(bytes.toString("utf8")) as Partial<Manifest> & {
    readonly manifests?: readonly { readonly platform?: Platform }[];
  };
  const platforms = document.manifests?.flatMap(({ platform }) => platform ?? []);
  return { mediaType, digest, size: bytes.length, platforms: platforms ?? (await platformsOf(repository, document)) };
}

/** An image for one platform says in its configuration for which. */
async function platformsOf(repository: Repository, { config }: Partial<Manifest>): Promise<Platform[]> {
  if (config === undefined) return [];
  return [platformOf(JSON.parse((await readConfig(repository, config)).toString("utf8")) as ConfigDocument)];
}
