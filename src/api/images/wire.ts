import { readRegistryAuth } from "../../engine/registry-auth.ts";
import type { Image, ImageConfig, RegistryAuth } from "../../runtime/runtime.ts";

const seconds = (time: string) => Math.floor((Date.parse(time) || 0) / 1000);

/** An entry of `GET /images/json`. Sizes are bytes; -1 stands for "not counted". */
export function imageSummaryJson(image: Image, version: number): object {
  const { tags, digests, config, size } = image;
  const none = version < 43;
  return {
    Containers: -1,
    Created: seconds(image.createdAt),
    Id: image.id,
    Labels: config.Labels ?? null,
    ParentId: "",
    RepoDigests: digests.length === 0 && none ? ["<none>@<none>"] : digests,
    RepoTags: tags.length === 0 && none ? ["<none>:<none>"] : tags,
    SharedSize: -1,
    Size: size,
    ...(version < 44 && { VirtualSize: size }),
  };
}

/** `GET /images/{name}/json` (fields in Docker's order). */
export function imageJson(image: Image, version: number): object {
  return {
    Id: image.id,
    RepoTags: image.tags,
    RepoDigests: image.digests,
    Parent: "",
    Comment: image.comment,
    Created: image.createdAt,
    ...(version < 45 && { Container: "", ContainerConfig: configJson({}, 24) }),
    DockerVersion: "",
    Author: image.author,
    Config: configJson(image.config, version),
    Architecture: image.architecture,
    Os: image.os,
    Size: image.size,
    ...(version < 44 && { VirtualSize: image.size }),
    GraphDriver: { Data: null, Name: "overlayfs" },
    RootFS: { Type: "layers", Layers: image.layers },
    Metadata: { LastTagTime: "0001-01-01T00:00:00Z" },
  };
}

/** Before API 1.50 an image's configuration showed the fields of a container's, all empty. */
function configJson(config: ImageConfig, version: number): object {
  const full = {
    ...(version < 50 && { Hostname: "", Domainname: "" }),
    User: config.User ?? "",
    ...(version < 50 && { AttachStdin: false, AttachStdout: false, AttachStderr: false }),
    ...(config.ExposedPorts && { ExposedPorts: config.ExposedPorts }),
    ...(version < 50 && { Tty: false, OpenStdin: false, StdinOnce: false }),
    Env: config.Env ?? null,
    Cmd: config.Cmd ?? null,
    ...(config.Healthcheck && { Healthcheck: config.Healthcheck }),
    ...(version < 50 && { Image: "" }),
    Volumes: config.Volumes ?? null,
    WorkingDir: config.WorkingDir ?? "",
    Entrypoint: config.Entrypoint ?? null,
    OnBuild: config.OnBuild ?? null,
    Labels: config.Labels ?? null,
    ...(config.StopSignal && { StopSignal: config.StopSignal }),
    ...(config.Shell && { Shell: config.Shell }),
  };
  return full;
}

/** `GET /images/{name}/history`, newest layer first. */
export function historyJson(image: Image): object[] {
  return image.history.toReversed().map((entry, index) => ({
    Id: index === 0 ? image.id : "<missing>",
    Created: seconds(entry.createdAt),
    CreatedBy: entry.createdBy,
    Tags: index === 0 && image.tags.length > 0 ? image.tags : null,
    Size: entry.size,
    Comment: entry.comment,
  }));
}

/** `X-Registry-Auth` */
export const readAuthHeader = (header: string | readonly string[] | undefined): RegistryAuth | undefined =>
  typeof header === "string" ? readRegistryAuth(header) : undefined;

/** A name with the `tag` parameter that clients send beside it: a tag, or a digest. */
export function withTag(name: string, tag: string): string {
  const bare = name.replace(/:$/, "");
  if (tag === "") return bare;
  return /^\w+:[0-9a-f]+$/i.test(tag) ? `${bare}@${tag}` : `${bare}:${tag}`;
}

/** True when a reference names a repository only: neither tag nor digest. */
export const isNameOnly = (reference: string) =>
  !reference.includes("@") && !reference.slice(reference.lastIndexOf("/") + 1).includes(":");
