import { invalid, notFound, system, unavailable } from "../../lib/errors.ts";
import { EngineError } from "../../lib/errors.ts";
import type { RegistryAuth } from "../runtime.ts";
import { type Reference, familiar, repositoryOf } from "./reference.ts";

const hub = "registry-1.docker.io";
const manifestTypes = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
const largestManifest = 4 << 20; // bytes

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
    if (response.status === 404)
      throw notFound(`manifest for ${this.#shown(which)} not found: manifest unknown: manifest unknown`);
    await this.#check(response);
    const bytes = Buffer.from(await response.arrayBuffer());
    if (bytes.length > largestManifest) throw invalid(`the manifest of ${this.#shown(which)} is too large`);
    return { bytes, mediaType: (response.headers.get("content-type") ?? "").split(";")[0] ?? "" };
  }

  async blob(digest: string): Promise<AsyncIterable<Uint8Array>> {
    const response = await this.#request(`blobs/${digest}`, {}, "pull");
    await this.#check(response);
    if (response.body === null) throw system(`the registry sent nothing for ${digest}`);
    return response.body;
  }

  async tags(): Promise<string[]> {
    const response = await this.#request("tags/list", {}, "pull");
    await this.#check(response);
    return ((await response.json()) as { tags?: string[] | null }).tags ?? [];
  }

  async hasBlob(digest: string): Promise<boolean> {
    return (await this.#request(`blobs/${digest}`, { method: "HEAD" }, "push")).status === 200;
  }

  async pushBlob(digest: string, data: AsyncIterable<Uint8Array>, size: number): Promise<void> {
    const begun = await this.#request("blobs/uploads/", { method: "POST" }, "push");
    await this.#check(begun);
    const to = new URL(begun.headers.get("location") ?? "", await this.#url(""));
    to.searchParams.set("digest", digest);
    const init = {
      method: "PUT",
      headers: { "content-type": "application/octet-stream", "content-length": String(size) },
      body: data,
      duplex: "half",
    };
    await this.#check(await this.#send(to.href, init as RequestInit));
  }

  async pushManifest(which: string, bytes: Uint8Array, mediaType: string): Promise<void> {
    const init = { method: "PUT", headers: { "content-type": mediaType }, body: Buffer.from(bytes) };
    await this.#check(await this.#request(`manifests/${which}`, init, "push"));
  }

  /** Asks for nothing but whether the registry takes the name and password. @throws {EngineError} unauthorized */
  async login(): Promise<void> {
    const response = await this.#request("", {}, "");
    if (response.status === 401 || response.status === 403)
      throw new EngineError("unauthorized", `Get "${await this.#url("")}": unauthorized: authentication required`);
    await this.#check(response);
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
    try {
      await fetch(`https://${host}/v2/`, { signal: this.#signal });
      return `https://${host}`;
    } catch {
      this.#signal.throwIfAborted();
      return `http://${host}`;
    }
  }

  async #request(path: string, init: RequestInit, scope: "pull" | "push" | ""): Promise<Response> {
    const url = await this.#url(path);
    const response = await this.#send(url, init);
    if (response.status !== 401 || init.body !== undefined) return response;
    const challenge = parseChallenge(response.headers.get("www-authenticate"));
    await response.body?.cancel();
    if (challenge === undefined) return response;
    this.#authorization = await this.#authorize(challenge, scope);
    return this.#authorization === undefined ? response : this.#send(url, init);
  }

  /** fetch itself leaves out the authorization when it is redirected to another host (fetch.spec.whatwg.org). */
  async #send(url: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.#authorization !== undefined) headers.set("authorization", this.#authorization);
    try {
      return await fetch(url, { ...init, headers, signal: this.#signal });
    } catch (error) {
      this.#signal.throwIfAborted();
      const cause = (error as Error).cause as (Error & { code?: string }) | undefined;
      throw unavailable(`Get "${url}": ${cause?.message || cause?.code || (error as Error).message}`);
    }
  }

  async #authorize({ scheme, parameters }: Challenge, scope: string): Promise<string | undefined> {
    const { username, password, identitytoken, registrytoken } = this.#auth ?? {};
    if (registrytoken) return `Bearer ${registrytoken}`;
    const basic = username ? `Basic ${Buffer.from(`${username}:${password ?? ""}`).toString("base64")}` : undefined;
    if (scheme === "basic") return basic;
    const { realm, service } = parameters;
    if (scheme !== "bearer" || realm === undefined) return undefined;
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set("service", service);
    const wanted =
      scope === "" ? undefined : `repository:${this.#reference.path}:${scope === "push" ? "pull,push" : scope}`;
    if (wanted !== undefined) url.searchParams.set("scope", wanted);
    const init: RequestInit = identitytoken
      ? {
          method: "POST",
          body: new URLSearchParams({
            grant_type: "refresh_token",
            refresh_token: identitytoken,
            client_id: "tombolo",
            ...(service && { service }),
            ...(wanted && { scope: wanted }),
          }),
        }
      : { headers: basic === undefined ? {} : { authorization: basic } };
    const response = await fetch(identitytoken ? realm : url, { ...init, signal: this.#signal });
    if (!response.ok) return undefined;
    const token = (await response.json()) as { token?: string; access_token?: string };
    return `Bearer ${token.token ?? token.access_token ?? ""}`;
  }

  /** @throws {EngineError} with the registry's words, as Docker puts them */
  async #check(response: Response): Promise<void> {
    if (response.ok) return;
    const body = (await response.json().catch(() => ({}))) as ErrorBody;
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

/** `Bearer realm="…",service="…"` (RFC 9110 section 11.6.1). */
function parseChallenge(text: string | null): Challenge | undefined {
  const [, scheme, rest = ""] = /^(\w+)\s*(.*)$/s.exec(text ?? "") ?? [];
  if (scheme === undefined) return undefined;
  const parameters = [...rest.matchAll(/(\w+)=(?:"([^"]*)"|([^\s,]+))/g)].map(([, key, quoted, plain]) => [
    key,
    quoted ?? plain,
  ]);
  return { scheme: scheme.toLowerCase(), parameters: Object.fromEntries(parameters) as Record<string, string> };
}
