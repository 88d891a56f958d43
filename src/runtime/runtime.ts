import type { Container } from "../model/container.ts";
import type { ContainerId } from "../model/ids.ts";

/** The configuration in an image, in the words of the OCI image specification (config.md). */
export interface ImageConfig {
  readonly User?: string;
  readonly ExposedPorts?: Readonly<Record<string, object>>;
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Volumes?: Readonly<Record<string, object>>;
  readonly WorkingDir?: string;
  readonly Labels?: Readonly<Record<string, string>>;
  readonly StopSignal?: string;
  readonly Healthcheck?: ImageHealthCheck;
  readonly Shell?: readonly string[];
  readonly OnBuild?: readonly string[];
}

/** Docker's addition to it. Durations are nanoseconds. */
export interface ImageHealthCheck {
  readonly Test?: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}

export interface ImageHistory {
  readonly createdAt: string;
  readonly createdBy: string;
  readonly comment: string;
  readonly size: number; // bytes
}

export interface Image {
  /** Digest of the image's config: `sha256:…`. */
  readonly id: string;
  /** `busybox:latest`, in Docker's short form. */
  readonly tags: readonly string[];
  /** `busybox@sha256:…` of the manifest. */
  readonly digests: readonly string[];
  readonly createdAt: string;
  readonly author: string;
  readonly comment: string;
  readonly architecture: string;
  readonly os: string;
  readonly size: number; // bytes, unpacked
  readonly config: ImageConfig;
  readonly layers: readonly string[]; // diff ids
  readonly layerSizes: readonly number[]; // bytes, in the same order
  readonly history: readonly ImageHistory[];
}

/** A line of the client's progress display (moby pkg/jsonmessage). */
export interface Progress {
  readonly status?: string;
  readonly stream?: string;
  readonly id?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
}
export type OnProgress = (progress: Progress) => void;

/** Name and password (or a token) for one registry, as `X-Registry-Auth` carries them. */
export interface RegistryAuth {
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
  readonly registrytoken?: string;
  readonly serveraddress?: string;
}

/** What a registry has under a name. */
export interface Distribution {
  readonly mediaType: string;
  readonly digest: string;
  /** Bytes of the manifest or the list. */
  readonly size: number;
  readonly platforms: readonly { readonly os: string; readonly architecture: string; readonly variant?: string }[];
}

export interface Images {
  list(): Promise<Image[]>;
  /**
   * By name, name with digest, id or its unambiguous beginning. @param platform `linux/arm64`: one for another is not found
   * @throws {EngineError} not-found, Docker's text; invalid
   */
  find(reference: string, platform?: string): Promise<Image>;
  /** `reference` is `busybox`, `host:5000/busybox:1`, `busybox@sha256:…`. A pull that breaks off leaves nothing behind. */
  pull(
    reference: string,
    options: { readonly platform?: string; readonly auth?: RegistryAuth; readonly allTags?: boolean },
    onProgress: OnProgress,
    signal: AbortSignal,
  ): Promise<void>;
  /** Asks the registry what it has under a name, and pulls nothing. @throws {EngineError} what the registry says */
  distribution(reference: string, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<Distribution>;
  push(reference: string, auth: RegistryAuth | undefined, onProgress: OnProgress, signal: AbortSignal): Promise<void>;
  /** A `docker save` or OCI archive, plain or compressed. */
  load(archive: AsyncIterable<Uint8Array>, onProgress: OnProgress): Promise<void>;
  /** A `docker save` archive of the named images. */
  save(references: readonly string[]): AsyncIterable<Uint8Array>;
  /** A root file system as tar, plain or compressed. `changes` are Dockerfile instructions. @returns the image's id */
  import(
    archive: AsyncIterable<Uint8Array>,
    options: {
      readonly reference?: string;
      readonly changes: readonly string[];
      readonly message: string;
      readonly platform?: string;
    },
  ): Promise<string>;
  tag(source: string, target: string): Promise<void>;
  /** `inUse` says which container holds an image. @returns what was done, in order */
  remove(
    reference: string,
    options: { readonly force: boolean; readonly inUse: (imageId: string) => string | undefined },
  ): Promise<({ readonly untagged: string } | { readonly deleted: string })[]>;
  /** Checks a login. @returns the registry's word for it. @throws {EngineError} unauthorized */
  login(auth: RegistryAuth): Promise<{ readonly status: string; readonly identityToken: string }>;
}

export interface OutputChunk {
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
}
/** A client's hold on the standard streams of a process. */
export interface ProcessStreams {
  /** From now on; ends when the process is gone or `close` was called. */
  readonly output: AsyncIterable<OutputChunk>;
  /** To standard input; resolves when there is room for more. Does nothing without an open standard input. */
  write(data: Uint8Array): Promise<void>;
  closeStdin(): void;
  close(): void;
}

export interface LogOptions {
  readonly follow: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Milliseconds since 1970; 0 means no bound. */
  readonly since: number;
  readonly until: number;
  /** Lines from the end; undefined means all. */
  readonly tail?: number;
}
export interface LogLine extends OutputChunk {
  readonly time: string; // RFC 3339 with nanoseconds
}

/** A mount with its source resolved to a path of the host. `type` "tmpfs" has no source. */
export interface ResolvedMount {
  readonly type: "bind" | "tmpfs";
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly propagation: string;
  readonly options: string;
}
export interface StartRequest {
  readonly container: Container;
  /** Path of the network namespace; undefined for the host's. */
  readonly network?: string;
  /** Paths of namespaces that are shared with another container or the host ("host"); absent means one of its own. */
  readonly pid?: string;
  readonly ipc?: string;
  readonly uts?: string;
  /** Hosts, hostname and resolv.conf included. */
  readonly mounts: readonly ResolvedMount[];
}
export interface ExecSpec {
  readonly id: string; // 64 hex digits
  readonly containerId: ContainerId;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly user: string;
  readonly workingDir: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly privileged: boolean;
}
/** A process ended. `execId` is absent for the container's own. */
export interface ExitEvent {
  readonly containerId: ContainerId;
  readonly execId?: string;
  readonly exitCode: number;
  readonly exitedAt: string;
  readonly oomKilled: boolean;
}
/** What containerd has of a container. */
export interface FoundContainer {
  readonly id: ContainerId;
  readonly task?: {
    readonly status: "created" | "running" | "paused" | "stopped";
    readonly pid: number;
    readonly exitCode: number;
    readonly exitedAt: string;
  };
}
export interface Usage {
  readonly read: string;
  readonly cpuNanoseconds: number;
  readonly memory: number; // bytes
  readonly memoryLimit: number; // bytes
  readonly pids: number;
}

/** Containers' processes. Every verb is safe to repeat. Names follow containerd's words. */
export interface Processes {
  /** Makes the writable layer and containerd's record of it; no process yet. */
  create(container: Container): Promise<void>;
  /** Kills what runs, removes record, layer, logs. Nothing there is no error. */
  remove(id: ContainerId): Promise<void>;
  /** Copies the image's content at `target` into the empty directory `into` (a new volume). */
  populate(id: ContainerId, target: string, into: string): Promise<void>;
  /** Starts the process. @returns its pid. @throws {EngineError} invalid, with runc's reason and Docker's text; nothing is left running */
  start(request: StartRequest): Promise<number>;
  /** Deletes the ended task, so that the container can start again. */
  reap(id: ContainerId): Promise<void>;
  /** @throws {EngineError} conflict when no process runs */
  kill(id: ContainerId, signal: number, execId?: string): Promise<void>;
  pause(id: ContainerId): Promise<void>;
  resume(id: ContainerId): Promise<void>;
  resize(id: ContainerId, width: number, height: number, execId?: string): Promise<void>;
  /** New limits on a running container. */
  update(container: Container): Promise<void>;
  /** May be called before `start`: then it sees the first byte. */
  attach(container: Container): Promise<ProcessStreams>;
  /** Starts a further process; its streams are open before it runs. @returns its streams (undefined when detached) and pid */
  exec(
    container: Container,
    spec: ExecSpec,
    detached: boolean,
  ): Promise<{ readonly pid: number; readonly streams?: ProcessStreams }>;
  /** Further processes in a container that run, also those of a daemon before. @returns their ids */
  execs(id: ContainerId): Promise<string[]>;
  logs(container: Container, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine>;
  /** Pids inside, as the host counts. */
  pids(id: ContainerId): Promise<number[]>;
  usage(id: ContainerId): Promise<Usage>;
  /**
   * Opens a container's files, running or not, for one call of what it returns; until that has ended a start waits for
   * some seconds, then breaks it off. No start may be under way. @param signal ends the call early
   */
  files(container: Container, mounts: readonly ResolvedMount[], signal: AbortSignal): Promise<ContainerFiles>;
  list(): Promise<FoundContainer[]>;
  onExit(listener: (event: ExitEvent) => void): () => void;
  logPath(id: ContainerId): string;
}
/**
 * A container's files. No link leads out of its root, whatever it does meanwhile. Errors of the kernel come with its
 * code: ENOENT, ENOTDIR, ELOOP, EROFS, ENOSPC.
 */
export interface ContainerFiles {
  stat(path: string): PathStat;
  /** A tar of what is at `path`, named after its last part. A link is described and packed itself. */
  read(path: string): { readonly stat: PathStat; readonly tar: AsyncIterable<Uint8Array> };
  /** Unpacks a tar, plain or compressed, into the directory at `path`. @throws {EngineError} invalid, Docker's texts */
  write(
    path: string,
    archive: AsyncIterable<Uint8Array>,
    options: {
      readonly noOverwriteDirNonDir: boolean;
      /** Whose everything shall be, by the container's own passwd, instead of whose the archive says. */
      readonly user?: string;
      /** Called before anything is written, with the path from the root on when every link is followed. */
      check(directory: string): void;
    },
  ): Promise<void>;
  /** A tar of everything, without volumes and bind mounts. */
  export(): AsyncIterable<Uint8Array>;
}
export interface PathStat {
  readonly name: string;
  readonly size: number;
  readonly mode: number; // Go's os.FileMode
  readonly mtime: string;
  readonly linkTarget: string;
}

export interface MemoryFile {
  readonly data: Uint8Array;
  readonly uid: number;
  readonly gid: number;
  /** Permission bits. */
  readonly mode: number;
}
/** Files of running containers that are on no disk. */
export interface MemoryFiles {
  /** Writes a container's files, in the place of those that it has. */
  write(id: ContainerId, files: readonly MemoryFile[]): void;
  /** Where a container's files are, in the order in which they were written; none when it has none. */
  paths(id: ContainerId): string[];
  remove(id: ContainerId): void;
  /** Whose there are. */
  list(): ContainerId[];
  /** Removes those of all other containers. */
  keepOnly(ids: ReadonlySet<ContainerId>): void;
}

export interface Runtime {
  readonly images: Images;
  readonly processes: Processes;
  readonly memoryFiles: MemoryFiles;
  /** Connects (or starts containerd), finds running containers, listens for exits. */
  start(): Promise<void>;
  /** Leaves containers running. @param options.end the programs that `start` began end too, not those that it found */
  stop(options: { readonly end: boolean }): Promise<void>;
  versions(): Promise<{ readonly containerd: string; readonly containerdCommit: string; readonly runc: string }>;
  /** Snapshots, containers, leases and images of ours in containerd that none of `wanted` needs: for `audit`. */
  leftOvers(
    wanted: ReadonlySet<ContainerId>,
  ): Promise<{ readonly what: "missing" | "left over"; readonly key: string }[]>;
  /** Called after containerd came back: exits may have been missed. */
  onReconnect(listener: () => void): () => void;
}
