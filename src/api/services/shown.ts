import { isNeutral } from "../schemas.ts";
import { type ServiceSpecBody, serviceSpecBody } from "./spec-body.ts";

type Json = Readonly<Record<string, unknown>>;

/** Members that are shown whatever they say: those without `omitempty` in Go, and pointers to what may be empty. */
const always = new Set(
  `Spec.Labels TaskTemplate ContainerSpec Init StopGracePeriod Healthcheck DNSConfig Privileges BindOptions VolumeOptions
  TmpfsOptions DriverConfig Resources Limits Reservations RestartPolicy RestartPolicy.Delay RestartPolicy.MaxAttempts
  RestartPolicy.Window Placement Spread Spread.SpreadDescriptor LogDriver ForceUpdate Spec.Mode Replicated Replicas Global
  ReplicatedJob MaxConcurrent TotalCompletions GlobalJob UpdateConfig RollbackConfig Parallelism MaxFailureRatio Order
  EndpointSpec File File.Name File.UID File.GID File.Mode SecretID SecretName ConfigID ConfigName Privileges.NoNewPrivileges
  SELinuxContext.Disable SELinuxContext.User SELinuxContext.Role SELinuxContext.Type SELinuxContext.Level Seccomp AppArmor
  CredentialSpec.Config CredentialSpec.File CredentialSpec.Registry Ulimits.Name Ulimits.Hard Ulimits.Soft`.split(
    /\s+/,
  ),
);
/** Pointers without `omitempty`: null is shown. */
const nulls = new Set(["Privileges.CredentialSpec", "Privileges.SELinuxContext"]);

/** A spec as inspect shows it: fields in Docker's order, Docker's defaults for what Docker fills in, nothing that is empty. */
export function shownSpec(body: ServiceSpecBody): Json {
  const { TaskTemplate: template, EndpointSpec: endpoint } = body;
  const restart = template?.RestartPolicy;
  const filled = {
    ...body,
    Labels: body.Labels ?? {},
    TaskTemplate: {
      ...template,
      ContainerSpec: { ...template?.ContainerSpec, Isolation: template?.ContainerSpec?.Isolation || "default" },
      ...(restart && {
        RestartPolicy: { ...restart, Condition: restart.Condition || "any", MaxAttempts: restart.MaxAttempts ?? 0 },
      }),
      ForceUpdate: template?.ForceUpdate ?? 0,
      Runtime: "container",
    },
    Mode: filledMode(body.Mode ?? {}),
    UpdateConfig: body.UpdateConfig && filledPolicy(body.UpdateConfig),
    RollbackConfig: body.RollbackConfig && filledPolicy(body.RollbackConfig),
    EndpointSpec: endpoint && {
      Mode: endpoint.Mode || "vip",
      Ports: endpoint.Ports?.map((port) => ({
        ...port,
        Protocol: port.Protocol || "tcp",
        PublishMode: port.PublishMode || "ingress",
      })),
    },
  };
  return ordered(filled);
}

/** The same with the defaults of what it leaves out (`?insertDefaults=true`; moby/swarmkit api/defaults/service.go). */
export function withDefaults(shown: Json): Json {
  const spec = shown as ServiceSpecBody;
  const { TaskTemplate: template = {}, UpdateConfig, RollbackConfig } = spec;
  const policy = { Parallelism: 1, FailureAction: "pause", MaxFailureRatio: 0, Order: "stop-first" };
  const second = 1e9; // nanoseconds
  return ordered({
    ...spec,
    TaskTemplate: {
      ...template,
      ContainerSpec: { StopGracePeriod: 10 * second, DNSConfig: {}, ...template?.ContainerSpec },
      Resources: template?.Resources ?? {},
      RestartPolicy: { Condition: "any", Delay: 5 * second, MaxAttempts: 0, ...template?.RestartPolicy },
      Placement: template?.Placement ?? {},
    },
    UpdateConfig: { Monitor: 5 * second, ...(UpdateConfig ?? policy) },
    RollbackConfig: { Monitor: 5 * second, ...(RollbackConfig ?? policy) },
  });
}

const filledMode = (mode: NonNullable<ServiceSpecBody["Mode"]>) => {
  const { ReplicatedJob: job, Global, GlobalJob, Replicated } = mode;
  if (Global || GlobalJob) return mode;
  if (!job) return { Replicated: { Replicas: Replicated?.Replicas ?? 1 } };
  const MaxConcurrent = job.MaxConcurrent ?? 1;
  return { ReplicatedJob: { MaxConcurrent, TotalCompletions: job.TotalCompletions ?? MaxConcurrent } };
};

const filledPolicy = (policy: NonNullable<ServiceSpecBody["UpdateConfig"]>) => ({
  ...policy,
  Parallelism: policy.Parallelism ?? 0,
  FailureAction: policy.FailureAction || "pause",
  MaxFailureRatio: policy.MaxFailureRatio ?? 0,
  Order: policy.Order || "stop-first",
});

/** Fields come in the order of their schema. */
const ordered = (spec: unknown): Json => pruned(serviceSpecBody.parse(spec), "Spec") as Json;

function pruned(value: unknown, parent: string): unknown {
  if (Array.isArray(value)) return value.map((item) => pruned(item, parent));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).flatMap(([key, member]) => {
    const path = `${parent}.${key}`;
    if (nulls.has(path) && !member) return [[key, null]];
    const isKept = always.has(key) || always.has(path);
    const isShown = isKept ? member !== null && member !== undefined : !isNeutral(member);
    return isShown ? [[key, freeKeys.has(key) ? member : pruned(member, key)]] : [];
  });
  return Object.fromEntries(entries);
}
/** Maps whose keys the user chooses. */
const freeKeys = new Set(["Labels", "Options", "DriverOpts", "Sysctls"]);
