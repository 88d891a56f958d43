import { EngineError, notFound, system } from "../../lib/errors.ts";
import type { RegistryAuth } from "../runtime.ts";
import { type HttpReply, type HttpRequest, send } from "./http.ts";
import { type Reference, familiar, repositoryOf } from "./reference.ts";

const hub = "registry-1.docker.io";
const manifestTypes = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
const largestManifest = 4 << 20; // bytes
const largestAnswer = 1 << 20; // bytes of a token, a list of tags or an error

/** The errors of a registry's answer (distribution specification, error codes). */
interface ErrorBody {
  readonly errors?: readonly { readonly code?: string; readonly message?: string }[];
}
interface Challenge {
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** One repository of a registry (OCI distribution specification 1.1). */
export class Repository {
  readonly #reference: Pick<Reference, "domain" | "path">;
  readonly #auth: RegistryAuth | undefined;
  readonly #insecure: boolean;
  readonly #signal: AbortSignal;
  #base: string | undefined;
  #authorization: string | undefined;

  /** @param insecure names of registries without TLS; those on loopback never need it */
  constructor(
    reference: Pick<Reference, "domain" | "path">,
    auth: RegistryAuth | undefined,
    insecure: readonly string[],
    signal: AbortSignal,
  ) {
    this.#reference = reference;
    this.#auth = auth;
    const host = reference.domain.replace(/:\d+$/, "");
    this.#insecure = insecure.includes(reference.domain) || /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(host);
    this.#signal = signal;
  }

  /** A manifest or an index, by tag or digest. @throws {EngineError} not-found, Docker's text */
  async manifest(which: string): Promise<{ readonly bytes: Buffer; readonly mediaType: string }> {
    const response = await this.#request(
      `manifests/${which}`,
      { headers: { accept: manifestTypes.join(", ") } },
      "pull",
    );
    if (response.status === 404) {
      response.discard();
      throw notFound(`manifest for ${this.#shown(which)} not found: manifest unknown: manifest unknown`);
    }
    await this.#check(response);
    const bytes = await response.bytes(largestManifest);
    return { bytes, mediaType: response.header("content-type").split(";")[0] ?? "" };
  }

  async blob(digest: string): Promise<AsyncIterable<Uint8Array>> {
    const response = await this.#request(`blobs/${digest}`, {}, "pull");
    await this.#check(response);
    return response.body;
  }

  async tags(): Promise<string[]> {
    const response = await this.#request("tags/list", {}, "pull");
    await this.#check(response);
    return (await read<{ tags?: string[] | null }>(response)).tags ?? [];
  }

  async hasBlob(digest: string): Promise<boolean> {
    const response = await this.#request(`blobs/${digest}`, { method: "HEAD" }, "push");
    response.discard();
    return response.status === 200;
  }

  async pushBlob(digest: string, data: AsyncIterable<Uint8Array>, size: number): Promise<void> {
    const begun = await this.#request("blobs/uploads/", { method: "POST" }, "push");
    await this.#check(begun);
    begun.discard();
    const to = URL.parse(begun.header("location"), begun.url);
    if (to === null) throw system(`the registry ${this.#reference.domain} does not say where to upload to`);
    to.searchParams.set("digest", digest);
    const headers = { "content-type": "application/octet-stream", "content-length": size };
    const done = await this.#send(to.href, { method: "PUT", headers, body: data });
    await this.#check(done);
    done.discard();
  }

  async pushManifest(which: string, bytes: Uint8Array, mediaType: string): Promise<void> {
    const headers = { "content-type": mediaType, "content-length": bytes.length };
    const done = await this.#request(`manifests/${which}`, { method: "PUT", headers, body: bytes }, "push");
    await this.#check(done);
    done.discard();
  }

  /** Asks for nothing but whether the registry takes the name and password. @throws {EngineError} unauthorized */
  async login(): Promise<void> {
    const response = await this.#request("", {}, "");
    if (response.status === 401 || response.status === 403) {
      response.discard();
      throw new EngineError("unauthorized", `Get "${await this.#url("")}": unauthorized: authentication required`);
    }
    await this.#check(response);
    response.discard();
  }

  #shown(which: string): string {
    return `${familiar(repositoryOf(this.#reference))}${which.startsWith("sha256:") ? "@" : ":"}${which}`;
  }

  async #url(path: string): Promise<string> {
    this.#base ??= await this.#findBase();
    return path === "" ? `${this.#base}/v2/` : `${this.#base}/v2/${this.#reference.path}/${path}`;
  }

  /** TLS, unless the registry is one that may go without and does. */
  async #findBase(): Promise<string> {
    const host = this.#reference.domain === "docker.io" ? hub : this.#reference.domain;
    if (!this.#insecure) return `https://${host}`;
    for (const base of [`https://${host}`, `http://${host}`])
      try {
        (await send(`${base}/v2/`, {}, this.#signal)).discard();
        return base;
      } catch (error) {
        this.#signal.throwIfAborted();
        if (base.startsWith("http:")) throw error;
      }
    return `http://${host}`;
  }

  async #request(path: string, wish: HttpRequest, scope: "pull" | "push" | ""): Promise<HttpReply> {
    const url = await this.#url(path);
    const response = await this.#send(url, wish);
    if (response.status !== 401 || wish.body !== undefined) return response;
    const challenge = parseChallenge(response.header("www-authenticate"));
    if (challenge === undefined) return response;
    this.#authorization = await this.#authorize(challenge, scope);
    if (this.#authorization === undefined) return response;
    response.discard();
    return this.#send(url, wish);
  }

  #send(url: string, wish: HttpRequest): Promise<HttpReply> {
    const authorization = this.#authorization === undefined ? {} : { authorization: this.#authorization };
    return send(url, { ...wish, headers: { ...wish.headers, ...authorization } }, this.#signal);
  }

  async #authorize({ scheme, parameters }: Challenge, scope: string): Promise<string | undefined> {
    const { username, password, identitytoken, registrytoken } = this.#auth ?? {};
    if (registrytoken) return `Bearer ${registrytoken}`;
    const basic = username ? `Basic ${Buffer.from(`${username}:${password ?? ""}`).toString("base64")}` : undefined;
    if (scheme === "basic") return basic;
    const { realm, service } = parameters;
    if (scheme !== "bearer" || realm === undefined) return undefined;
    const url = URL.parse(realm);
    if (url === null) return undefined;
    if (service !== undefined) url.searchParams.set("service", service);
    const wanted =
      scope === "" ? undefined : `repository:${this.#reference.path}:${scope === "push" ? "pull,push" : scope}`;
    if (wanted !== undefined) url.searchParams.set("scope", wanted);
    const form = new URLSearchParams({
      grant_type: "refresh_token",
      refresh_token: identitytoken ?? "",
      client_id: "tombolo",
      ...(service && { service }),
      ...(wanted && { scope: wanted }),
    }).toString();
    const type = "application/x-www-form-urlencoded";
    const headers = { "content-type": type, "content-length": Buffer.byteLength(form) };
    const response = identitytoken
      ? await send(realm, { method: "POST", headers, body: form }, this.#signal)
      : await send(url.href, { headers: basic === undefined ? {} : { authorization: basic } }, this.#signal);
    if (!response.ok) {
      response.discard();
      return undefined;
    }
    const token = await read<{ token?: string; access_token?: string }>(response);
    return `Bearer ${token.token ?? token.access_token ?? ""}`;
  }

  /** @throws {EngineError} with the registry's words, as Docker puts them */
  async #check(response: HttpReply): Promise<void> {
    if (response.ok) return;
    const body = await read<ErrorBody>(response).catch((): ErrorBody => ({}));
    const [first] = body.errors ?? [];
    const name = familiar(repositoryOf(this.#reference));
    const said =
      first === undefined
        ? `unexpected status ${response.status}`
        : `${(first.code ?? "").toLowerCase().replaceAll("_", " ")}: ${first.message ?? ""}`;
    if (response.status === 401 && this.#auth?.username)
      throw new EngineError("unauthorized", `Head "${response.url}": ${said}`);
    if (response.status === 401 && !this.#auth?.username)
      throw notFound(`Head "${response.url}": no basic auth credentials`);
    if (response.status === 403 || response.status === 401)
      throw notFound(
        `pull access denied for ${name}, repository does not exist or may require 'docker login': denied: ${said}`,
      );
    if (response.status === 404) throw notFound(`repository ${name} not found: ${said}`);
    throw system(`error from registry ${this.#reference.domain}: ${said}`);
  }
}

const read = async <T>(response: HttpReply): Promise<T> =>
  JSON.parse((await response.bytes(largestAnswer)).toString("utf8")) as T;

/** `Bearer realm="…",service="…"` (RFC 9110 section 11.6.1). */
function parseChallenge(text: string): Challenge | undefined {
  const [, scheme, rest = ""] = /^(\w+)\s*(.*)$/s.exec(text) ?? [];
  if (scheme === undefined) return undefined;
  const parameters = [...rest.matchAll(/(\w+)=(?:"([^"]*)"|([^\s,]+))/g)].map(([, key, quoted, plain]) => [
    key,
    quoted ?? plain,
  ]);
  return { scheme: scheme.toLowerCase(), parameters: Object.fromEntries(parameters) as Record<string, string> };
}
