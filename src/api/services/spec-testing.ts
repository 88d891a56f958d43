import { readSpec } from "./read-spec.ts";
import { serviceSpecBody } from "./spec-body.ts";

/** A spec as a request's body has it, read. */
export function specFrom(body: object, { name = "web", networks = [] as readonly string[], auth = "" } = {}) {
  return readSpec(serviceSpecBody.parse(body), { name, networks, auth });
}

/** What Docker's client 28 sends for `docker service create` with most of its flags, and a daemon of Docker shows of it. */
export const rich = {
  Name: "k1",
  Labels: {},
  TaskTemplate: {
    ContainerSpec: {
      Image: "busybox:latest",
      Labels: { cl: "1" },
      Command: ["ep", "x"],
      Args: ["a", "b"],
      Hostname: "h-{{.Task.Slot}}",
      Env: ["A=B"],
      Dir: "/w",
      User: "1",
      Groups: ["2"],
      Init: true,
      StopSignal: "SIGINT",
      TTY: true,
      ReadOnly: true,
      Mounts: [
        { Type: "tmpfs", Target: "/t", TmpfsOptions: { SizeBytes: 10_485_760, Mode: 1023 } },
        { Type: "bind", Source: "/tmp", Target: "/b", ReadOnly: true, BindOptions: { Propagation: "rslave" } },
        {
          Type: "volume",
          Source: "v-{{.Node.Hostname}}",
          Target: "/v",
          VolumeOptions: { NoCopy: true, Labels: { a: "b" }, DriverConfig: {} },
        },
      ],
      StopGracePeriod: 3_000_000_000,
      Healthcheck: { Test: ["CMD-SHELL", "true"], Interval: 5_000_000_000 },
      Hosts: ["1.2.3.4 h"],
      DNSConfig: { Nameservers: ["1.1.1.1"], Search: ["a"], Options: ["ndots:1"] },
      Isolation: "default",
      Sysctls: { "net.core.somaxconn": "10" },
      CapabilityAdd: ["CAP_NET_ADMIN"],
      CapabilityDrop: ["ALL"],
      Ulimits: [{ Name: "nofile", Hard: 20, Soft: 10 }],
    },
    Resources: {
      Limits: { NanoCPUs: 500_000_000, MemoryBytes: 52_428_800, Pids: 10 },
      Reservations: { NanoCPUs: 100_000_000 },
    },
    RestartPolicy: { Condition: "on-failure", Delay: 1_000_000_000, MaxAttempts: 3, Window: 10_000_000_000 },
    Placement: {
      Constraints: ["node.role==manager"],
      Preferences: [{ Spread: { SpreadDescriptor: "node.labels.dc" } }],
      MaxReplicas: 3,
    },
    Networks: [{ Target: "a22j6sda9j8484zhhs2ws5bu3", Aliases: ["al"], DriverOpts: { a: "b" } }],
    LogDriver: { Name: "json-file" },
    ForceUpdate: 0,
    Runtime: "container",
  },
  Mode: { Replicated: { Replicas: 0 } },
  UpdateConfig: {
    Parallelism: 0,
    Delay: 10_000_000_000,
    FailureAction: "pause",
    Monitor: 5_000_000_000,
    MaxFailureRatio: 0,
    Order: "stop-first",
  },
  RollbackConfig: {
    Parallelism: 1,
    FailureAction: "pause",
    Monitor: 3_000_000_000,
    MaxFailureRatio: 0,
    Order: "stop-first",
  },
  EndpointSpec: { Mode: "vip" },
};
