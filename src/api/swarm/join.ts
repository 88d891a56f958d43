import { isIPv6 } from "node:net";
import { invalid } from "../../lib/errors.ts";
import { readBody } from "../body.ts";
import { type Call, empty, type Reply } from "../call.ts";
import { flag } from "../query.ts";
import { only, text, texts } from "../schemas.ts";
import { addressingFields, checkListenAddress, readAddressing } from "./addressing.ts";

const joinBody = only({ ...addressingFields, RemoteAddrs: texts, JoinToken: text });

/** `POST /swarm/join` */
export async function joinSwarm({ engine, request }: Call): Promise<Reply> {
  const body = await readBody(request, joinBody);
  checkListenAddress(body);
  const remotes = body.RemoteAddrs ?? [];
  if (remotes.length === 0) throw invalid("at least 1 RemoteAddr is required to join");
  await engine.swarm.join({
    ...readAddressing(body),
    remotes: remotes.map(readRemote),
    token: body.JoinToken ?? "",
  });
  return empty(200);
}

/** `host:port`; the port is 2377 unless told (moby daemon/cluster/swarm.go, validateAddr). */
function readRemote(text: string): string {
  const address = text.replace(/^tcp:\/\//, "").replace(/:$/, "");
  if (address === "") throw invalid(`invalid remoteAddr ${JSON.stringify(text)}: invalid empty address`);
  if (isIPv6(address)) return `[${address}]:2377`;
  return /:\d+$/.test(address) ? address : `${address}:2377`;
}

/** `POST /swarm/leave` */
export async function leaveSwarm({ engine, query }: Call): Promise<Reply> {
  await engine.swarm.leave(flag(query, "force"));
  return empty(200);
}
