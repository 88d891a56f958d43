import type { Claim } from "./peer.ts";
import type { ContainerId, IpAddress, MacAddress } from "./ids.ts";
import type { PortBinding } from "./endpoint.ts";
import type { TaskId } from "./service.ts";

/** A container's wish to be on a network; it lives as long as the container, running or not. */
export interface Attachment {
  /** The network's name or id as the user typed it at create; its id from the first start on. */
  readonly network: string;
  readonly ipv4?: IpAddress;
  readonly ipv6?: IpAddress;
  readonly linkLocal: readonly IpAddress[];
  readonly mac?: MacAddress;
  readonly aliases: readonly string[];
  readonly links: readonly string[];
  readonly driverOptions: Readonly<Record<string, string>>;
  readonly gatewayPriority: number;
}

/** A port that the user wants published. `hostPort` is "" (any), "8080" or "8000-8010". */
export interface PortWish {
  readonly protocol: PortBinding["protocol"];
  readonly containerPort: number;
  readonly hostIp: string;
  readonly hostPort: string;
}

export interface Mount {
  readonly type: "bind" | "volume" | "tmpfs";
  /** Host path (bind), volume name (volume), "" (tmpfs). */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** Mount propagation (`rprivate`, `rshared` …) or "". */
  readonly propagation: string;
  /** Options of a tmpfs: `size=64m,mode=1777`. */
  readonly options: string;
  /** Copy the image's content into an empty volume at first use. */
  readonly copy: boolean;
  /** A bind whose source is made as an empty directory when it is missing (`-v`, but not `--mount`). */
  readonly createSource?: boolean;
}

export interface RestartPolicy {
  readonly name: "no" | "always" | "unless-stopped" | "on-failure";
  /** Only with on-failure; 0 means for ever. */
  readonly maximumRetryCount: number;
}

/** By what it is found out whether what runs in a container is well. Durations are milliseconds; 0 stands for Docker's default. */
export interface HealthCheck {
  /** `CMD` and the arguments, `CMD-SHELL` and a line, or `NONE`; in a request, empty: as the image has it. */
  readonly test: readonly string[];
  readonly interval: number;
  readonly timeout: number;
  /** After the start failures do not count for so long. */
  readonly startPeriod: number;
  /** The interval in `startPeriod`, until the first check that passes. */
  readonly startInterval: number;
  /** So many failures one after the other make it unhealthy. */
  readonly retries: number;
}
/** True when the container's health is looked at. */
export const isChecked = ({ healthCheck }: Pick<ContainerSpec, "healthCheck">): boolean =>
  ["CMD", "CMD-SHELL"].includes(healthCheck?.test[0] ?? "");

/** What is needed to run the process. Names follow the API's `Config` and `HostConfig`. */
export interface ContainerSpec {
  readonly image: string; // as typed
  readonly imageId: string; // digest of the image's config: sha256:…
  readonly hostname: string;
  readonly domainname: string;
  readonly user: string;
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly workingDir: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly tty: boolean;
  readonly openStdin: boolean;
  readonly stdinOnce: boolean;
  readonly stopSignal: string; // "" means SIGTERM
  readonly stopTimeout?: number; // seconds
  readonly privileged: boolean;
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  readonly securityOptions: readonly string[];
  readonly readOnlyRoot: boolean;
  readonly init: boolean;
  readonly mounts: readonly Mount[];
  readonly memory: number; // bytes, 0 means no limit
  readonly memorySwap: number; // bytes, -1 means no limit, 0 means twice the memory
  readonly nanoCpus: number;
  readonly cpuShares: number;
  readonly pidsLimit: number; // 0 or -1 means no limit
  readonly shmSize: number; // bytes
  readonly ulimits: readonly { readonly name: string; readonly soft: number; readonly hard: number }[];
  readonly sysctls: Readonly<Record<string, string>>;
  readonly extraHosts: readonly string[];
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  readonly groupAdd: readonly string[];
  readonly oomScoreAdj: number;
  readonly restart: RestartPolicy;
  readonly autoRemove: boolean;
  /** `bridge`, `host`, `none`, `container:<id>` or a network's name. */
  readonly networkMode: string;
  readonly ports: readonly PortWish[];
  readonly publishAll: boolean;
  readonly exposed: readonly { readonly protocol: PortBinding["protocol"]; readonly port: number }[];
  readonly pidMode: string;
  readonly ipcMode: string;
  readonly healthCheck?: HealthCheck;
  /** What runs the line of a health check; absent: `/bin/sh -c`. */
  readonly shell?: readonly string[];
}

export type HealthStatus = "starting" | "healthy" | "unhealthy";

export interface ContainerState {
  readonly status: "created" | "running" | "paused" | "restarting" | "exited" | "dead";
  readonly pid: number;
  readonly exitCode: number;
  readonly error: string;
  readonly oomKilled: boolean;
  readonly startedAt: string; // RFC 3339, zero time 0001-01-01T00:00:00Z
  readonly finishedAt: string;
  readonly restartCount: number;
  /** True after `docker stop` or `kill`: the restart policy `unless-stopped` and `always` leave it alone. */
  readonly stoppedByUser: boolean;
  /** Of containers whose health is looked at. What does not run is unhealthy (moby daemon/container/health.go). */
  readonly health?: HealthStatus;
}

export interface Container {
  readonly id: ContainerId;
  readonly name: string; // without the leading slash
  readonly createdAt: string;
  readonly spec: ContainerSpec;
  readonly attachments: readonly Attachment[];
  readonly state: ContainerState;
  /** Of a task: it is made, and ended, as the task's row says. */
  readonly taskId?: TaskId;
  /** Only while it is restarting: what it had on networks of the cluster, and has again when it runs, whether a manager answers or not. */
  readonly claims?: readonly Claim[];
  /** The request's Config and HostConfig, defaults filled in: what inspect shows. */
  readonly shown: {
    readonly config: Readonly<Record<string, unknown>>;
    readonly hostConfig: Readonly<Record<string, unknown>>;
  };
}

export interface Volume {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly anonymous: boolean;
  readonly createdAt: string;
}
