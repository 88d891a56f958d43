import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LabHost } from "../../src/lab/host.ts";
import { attempt, run } from "../../src/lab/command.ts";
import { until } from "./until.ts";

const port = 8888;
const algorithm = { algo: "ecdsa", size: 256 };
const usages = ["digital signature", "server auth", "client auth"];
/** Nodes' certificates for 90 days; profile "CA" signs the root that follows (docs/swarm.md). */
const policy = {
  signing: {
    default: { expiry: "2160h", usages },
    profiles: { CA: { expiry: "2160h", usages: ["cert sign", "crl sign"], ca_constraint: { is_ca: true } } },
  },
};

/** Debian's CFSSL as the CA of a swarm, on a host of the lab. The root and its key are made by it, and are in a directory of its own. */
export class Cfssl {
  readonly directory = mkdtempSync(join(tmpdir(), "cfssl-"));
  readonly url: string;
  readonly #host: LabHost;
  #server: ChildProcess | undefined;

  constructor(host: LabHost) {
    this.#host = host;
    this.url = `https://${host.address}:${port}/api/v1/cfssl/sign`;
  }

  /** The root's certificate: a file for `cacert=`. */
  get certificate(): string {
    return join(this.directory, "root.pem");
  }
  /** The base64 lines of the root's key, by which it would be found on a disk. */
  get keyLine(): string {
    return readFileSync(join(this.directory, "root.key"), "utf8").split("\n")[1] ?? "";
  }
  /** For `docker swarm init --external-ca`. */
  get flag(): string {
    return `protocol=cfssl,url=${this.url},cacert=${this.certificate}`;
  }

  async create(): Promise<void> {
    this.#write("policy.json", JSON.stringify(policy));
    const root = {
      CN: "Example root",
      key: algorithm,
      names: [{ O: "Example Ltd", C: "DE" }],
      ca: { expiry: "43800h" },
    };
    await this.#make("root", root, "genkey", "-initca");
    const by = ["-ca", this.certificate, "-ca-key", join(this.directory, "root.key")];
    const policyFile = join(this.directory, "policy.json");
    const flags = [...by, "-config", policyFile, `-hostname=${this.#host.address}`];
    await this.#make("server", { CN: "ca", key: algorithm }, "gencert", ...flags);
  }

  /** @param flags more of them: `-mutual-tls-ca FILE` */
  async start(...flags: readonly string[]): Promise<void> {
    const file = (name: string) => join(this.directory, name);
    const ca = ["-ca", file("root.pem"), "-ca-key", file("root.key"), "-config", file("policy.json")];
    const tls = ["-tls-cert", file("server.pem"), "-tls-key", file("server.key")];
    const at = ["-address", this.#host.address, "-port", String(port)];
    const inside = [`--net=${this.#host.pin}`];
    this.#server = spawn("nsenter", [...inside, "cfssl", "serve", ...ca, ...tls, ...at, ...flags], { stdio: "ignore" });
    const listening = ["nsenter", ...inside, "ss", "-Hltn", `sport = :${port}`];
    await until(async () => (await attempt(listening)).stdout !== "", "cfssl listens");
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined || server.exitCode !== null) return;
    const gone = once(server, "exit");
    server.kill("SIGKILL");
    await gone;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true });
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.directory, name), text, { mode: 0o600 });
  }

  /** Has cfssl make a key and a certificate. */
  async #make(name: string, request: object, ...command: readonly string[]): Promise<void> {
    const made = await run(["cfssl", ...command, "-"], { input: JSON.stringify(request) });
    const { cert, key } = JSON.parse(made) as { readonly cert: string; readonly key: string };
    this.#write(`${name}.pem`, cert);
    this.#write(`${name}.key`, key);
  }
}
