import { type Call, json, plain, type Reply } from "../call.ts";
import { swarmHeader } from "../swarm/info.ts";
import { newest, oldest } from "../versions.ts";

/** `HEAD` and `GET /_ping`; clients take the version to speak from its headers. */
export const ping = ({ engine }: Call): Reply =>
  plain("OK", {
    "Content-Type": "text/plain; charset=utf-8",
    "Builder-Version": "1",
    Swarm: swarmHeader(engine.swarm.standing()),
    "Cache-Control": "no-cache, no-store, must-revalidate",
    Pragma: "no-cache",
  });

const architecture = process.arch === "x64" ? "amd64" : process.arch;

/** `GET /version` */
export async function showVersion({ engine }: Call): Promise<Reply> {
  const { version, kernelVersion, runtime } = await engine.system.info();
  const node = `none (Node.js ${process.version})`; // the field is for Go's version
  const own = {
    ApiVersion: `1.${newest}`,
    Arch: architecture,
    BuildTime: "",
    Experimental: "false",
    GitCommit: "",
    GoVersion: node,
    KernelVersion: kernelVersion,
    MinAPIVersion: `1.${oldest}`,
    Os: "linux",
  };
  return json({
    Platform: { Name: "Tombolo" },
    Components: [
      { Name: "Engine", Version: version, Details: own },
      { Name: "containerd", Version: runtime.containerd, Details: { GitCommit: runtime.containerdCommit } },
      { Name: "runc", Version: runtime.runc, Details: { GitCommit: "" } },
    ],
    Version: version,
    ApiVersion: `1.${newest}`,
    MinAPIVersion: `1.${oldest}`,
    GitCommit: "",
    GoVersion: node,
    Os: "linux",
    Arch: architecture,
    KernelVersion: kernelVersion,
    BuildTime: "",
  });
}
