import { z } from "zod";
import { readBody } from "../body.ts";
import { type Call, empty, type Reply } from "../call.ts";
import { param } from "../query.ts";
import { boolean, text } from "../schemas.ts";
import { endpointSettings, readEndpointSettings } from "./endpoint-settings.ts";

const connectBody = z.looseObject({ Container: text, EndpointConfig: endpointSettings.nullish() });
const disconnectBody = z.looseObject({ Container: text, Force: boolean });

/** `POST /networks/{id}/connect` */
export async function connectNetwork(call: Call): Promise<Reply> {
  const { Container, EndpointConfig } = await readBody(call.request, connectBody);
  await call.engine.networks.connect(param(call, "id"), Container ?? "", readEndpointSettings(EndpointConfig));
  return empty(200);
}

/** `POST /networks/{id}/disconnect` */
export async function disconnectNetwork(call: Call): Promise<Reply> {
  const { Container, Force } = await readBody(call.request, disconnectBody);
  await call.engine.networks.disconnect(param(call, "id"), Container ?? "", Force ?? false);
  return empty(200);
}
