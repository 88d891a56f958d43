import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { sha256 } from "./content.ts";
import { askRegistry } from "./distribution.ts";
import { Repository } from "./registry.ts";

const listType = "application/vnd.oci.image.index.v1+json";
const manifestType = "application/vnd.docker.distribution.manifest.v2+json";
const config = Buffer.from(JSON.stringify({ os: "linux", architecture: "arm", variant: "v7", rootfs: {} }));
const manifest = JSON.stringify({
  schemaVersion: 2,
  config: { mediaType: "x", digest: sha256(config), size: config.length },
  layers: [],
});
const list = JSON.stringify({
  manifests: [{ platform: { os: "linux", architecture: "amd64" } }, { digest: "sha256:0" }],
});
const answers: Readonly<Record<string, { readonly type: string; readonly body: string | Buffer }>> = {
  "/v2/": { type: "application/json", body: "{}" },
  "/v2/tools/a/manifests/latest": { type: `${listType}; charset=utf-8`, body: list },
  "/v2/tools/a/manifests/one": { type: manifestType, body: manifest },
  [`/v2/tools/a/manifests/${sha256("other")}`]: { type: manifestType, body: manifest },
  [`/v2/tools/a/blobs/${sha256(config)}`]: { type: "application/octet-stream", body: config },
};
const server = createServer(({ url = "" }, response) => {
  const answer = answers[url];
  response.writeHead(answer === undefined ? 404 : 200, { "content-type": answer?.type ?? "application/json" });
  response.end(answer?.body ?? "{}");
});
before(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)));
after(() => server.close());

const ask = (which: string) => {
  const domain = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return askRegistry(new Repository({ domain, path: "tools/a" }, undefined, [], AbortSignal.timeout(5000)), which);
};

test("a registry is asked for digest and platforms, of a list and of one image", async () => {
  assert.deepEqual(await ask("latest"), {
    mediaType: listType,
    digest: sha256(list),
    size: list.length,
    platforms: [{ os: "linux", architecture: "amd64" }],
  });
  const { platforms, digest } = await ask("one");
  assert.deepEqual([platforms, digest], [[{ os: "linux", architecture: "arm", variant: "v7" }], sha256(manifest)]);
});

test("what the registry has not, or has otherwise, is an error", async () => {
  await assert.rejects(ask("none"), { class: "not-found", message: /tools\/a:none not found: manifest unknown/ });
  await assert.rejects(ask(sha256("other")), { class: "invalid", message: /manifest verification failed/ });
});
