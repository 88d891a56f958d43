import type { z } from "zod";
import type { SwarmInit } from "../../engine/engine.ts";
import { invalid } from "../../lib/errors.ts";
import { readBody } from "../body.ts";
import { type Call, json, type Reply } from "../call.ts";
import { boolean, count, only, texts } from "../schemas.ts";
import { readPools, readSubnetSize } from "./address-pools.ts";
import { addressingFields, checkListenAddress, readAddressing } from "./addressing.ts";
import { readSpec, specBody } from "./spec.ts";

const initBody = only({
  ...addressingFields,
  DataPathPort: count,
  ForceNewCluster: boolean,
  Spec: specBody.nullish(),
  AutoLockManagers: boolean,
  DefaultAddrPool: texts,
  SubnetSize: count,
});

/** `POST /swarm/init` */
export async function initSwarm({ engine, request, version }: Call): Promise<Reply> {
  const body = await readBody(request, initBody);
  checkListenAddress(body);
  return json(await engine.swarm.init(readInit(body, version)));
}

/** Pools are known since API 1.39, the port since 1.40 (moby daemon/server/router/swarm/cluster_routes.go). */
function readInit(body: z.infer<typeof initBody>, version: number): SwarmInit {
  const { spec, ...root } = readSpec(body.Spec);
  const subnetSize = readSubnetSize(version < 39 ? 0 : body.SubnetSize);
  return {
    ...readAddressing(body),
    ...root,
    spec: { ...spec, autolock: spec.autolock || (body.AutoLockManagers ?? false) },
    addressPools: readPools(version < 39 ? [] : (body.DefaultAddrPool ?? []), subnetSize),
    subnetSize,
    dataPathPort: readDataPathPort(version < 40 ? 0 : body.DataPathPort),
    forceNewCluster: body.ForceNewCluster ?? false,
  };
}

function readDataPathPort(port: number | null | undefined): number {
  if (!port) return 4789;
  if (port < 1024 || port > 49_151) throw invalid(`Datapath port number is not in valid range (1024-49151) : ${port}`);
  return port;
}
