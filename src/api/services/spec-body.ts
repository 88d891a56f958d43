import { z } from "zod";
import { mount } from "../containers/create-body.ts";
import { healthCheck } from "../containers/health-check.ts";
import { boolean, count, keySet, number, only, text, textMap, texts } from "../schemas.ts";
import { duration } from "../swarm/duration.ts";

/** The fields of a service's spec, in Docker's order (moby api/types/swarm/{service,task,container}.go). */

const fileTarget = only({ Name: text, UID: text, GID: text, Mode: count });
const secretReference = only({ File: fileTarget.nullish(), SecretID: text, SecretName: text });
const configReference = only({ File: fileTarget.nullish(), Runtime: keySet, ConfigID: text, ConfigName: text });
export type FileReferenceBody = z.infer<typeof configReference>;

const privileges = only({
  CredentialSpec: only({ Config: text, File: text, Registry: text }).nullish(),
  SELinuxContext: only({ Disable: boolean, User: text, Role: text, Type: text, Level: text }).nullish(),
  Seccomp: only({ Mode: text, Profile: text }).nullish(),
  AppArmor: only({ Mode: text }).nullish(),
  NoNewPrivileges: boolean,
});

const containerSpec = only({
  Image: text,
  Labels: textMap,
  Command: texts,
  Args: texts,
  Hostname: text,
  Env: texts,
  Dir: text,
  User: text,
  Groups: texts,
  Privileges: privileges.nullish(),
  Init: boolean,
  StopSignal: text,
  TTY: boolean,
  OpenStdin: boolean,
  ReadOnly: boolean,
  Mounts: z.array(mount).nullish(),
  StopGracePeriod: duration,
  Healthcheck: healthCheck.nullish(),
  Hosts: texts,
  DNSConfig: only({ Nameservers: texts, Search: texts, Options: texts }).nullish(),
  Secrets: z.array(secretReference).nullish(),
  Configs: z.array(configReference).nullish(),
  Isolation: text,
  Sysctls: textMap,
  CapabilityAdd: texts,
  CapabilityDrop: texts,
  Ulimits: z.array(z.looseObject({ Name: text, Hard: number, Soft: number })).nullish(),
  OomScoreAdj: number,
});
export type ContainerSpecBody = z.infer<typeof containerSpec>;

const resources = only({
  Limits: only({ NanoCPUs: number, MemoryBytes: number, Pids: number }).nullish(),
  Reservations: only({
    NanoCPUs: number,
    MemoryBytes: number,
    GenericResources: z.array(z.unknown()).nullish(),
  }).nullish(),
});
export type ResourcesBody = z.infer<typeof resources>;

const placement = only({
  Constraints: texts,
  Preferences: z.array(only({ Spread: only({ SpreadDescriptor: text }).nullish() })).nullish(),
  MaxReplicas: count,
  Platforms: z.array(only({ Architecture: text, OS: text })).nullish(),
});
const networks = z.array(only({ Target: text, Aliases: texts, DriverOpts: textMap })).nullish();

const taskTemplate = only({
  ContainerSpec: containerSpec.nullish(),
  Resources: resources.nullish(),
  RestartPolicy: only({ Condition: text, Delay: duration, MaxAttempts: count, Window: duration }).nullish(),
  Placement: placement.nullish(),
  Networks: networks,
  LogDriver: only({ Name: text, Options: textMap }).nullish(),
  ForceUpdate: count,
  Runtime: text,
});
export type TaskTemplateBody = z.infer<typeof taskTemplate>;

const policy = only({
  Parallelism: count,
  Delay: duration,
  FailureAction: text,
  Monitor: duration,
  MaxFailureRatio: z.number().nullish(),
  Order: text,
});
export type PolicyBody = z.infer<typeof policy>;

const portConfig = only({
  Name: text,
  Protocol: text,
  TargetPort: count,
  PublishedPort: count,
  PublishMode: text,
});
export type PortBody = z.infer<typeof portConfig>;

const mode = only({
  Replicated: only({ Replicas: count }).nullish(),
  Global: only({}).nullish(),
  ReplicatedJob: only({ MaxConcurrent: count, TotalCompletions: count }).nullish(),
  GlobalJob: only({}).nullish(),
});
export type ModeBody = z.infer<typeof mode>;

/** Body of `POST /services/create` and of an update. `Networks` is where clients of long ago say them. */
export const serviceSpecBody = only({
  Name: text,
  Labels: textMap,
  TaskTemplate: taskTemplate.nullish(),
  Mode: mode.nullish(),
  UpdateConfig: policy.nullish(),
  RollbackConfig: policy.nullish(),
  EndpointSpec: only({ Mode: text, Ports: z.array(portConfig).nullish() }).nullish(),
  Networks: networks,
});
export type ServiceSpecBody = z.infer<typeof serviceSpecBody>;
