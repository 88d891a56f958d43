import type { z } from "zod";
import { invalid } from "../../lib/errors.ts";
import type { FileContent } from "../../model/service.ts";
import { only, text, textMap } from "../schemas.ts";
import { metaJson } from "../swarm/inspect.ts";

const driver = only({ Name: text, Options: textMap });

/** Body of `POST /secrets/create` and of an update. */
export const secretBody = only({
  Name: text,
  Labels: textMap,
  Data: text,
  Driver: driver.nullish(),
  Templating: driver.nullish(),
});
export const configBody = only({ Name: text, Labels: textMap, Data: text, Templating: driver.nullish() });
type Body = z.infer<typeof secretBody>;

/** @throws {EngineError} invalid for what is no base64, and for what has the data from elsewhere */
export function readContent(body: Body, version: number): Pick<FileContent, "name" | "labels" | "data" | "templating"> {
  if (body.Driver?.Name)
    throw invalid("Driver is not supported: there are no plugins, the swarm keeps the data of secrets itself");
  const [option] = Object.keys(body.Templating?.Options ?? {});
  if (option !== undefined) throw invalid(`Templating.Options is not supported: there is no option "${option}"`);
  const templating = body.Templating?.Name;
  if (templating && version < 37)
    throw invalid(`templating is not supported on the specified API version: 1.${version}`);
  return {
    name: body.Name ?? "",
    labels: body.Labels ?? {},
    data: readData(body.Data ?? ""),
    ...(templating && { templating }),
  };
}

/** Bytes of Go: base64, in its usual form. What it says is not repeated. */
function readData(data: string): string {
  const bytes = Buffer.from(data, "base64");
  if (bytes.toString("base64") !== data.replaceAll(/[\r\n]/g, "")) throw invalid("Data is no base64");
  return bytes.toString("base64");
}

/** A config as list and inspect show it; a secret, without its data. */
export const contentJson = (row: FileContent, withData: boolean): object => ({
  ID: row.id,
  ...metaJson(row),
  Spec: {
    Name: row.name,
    Labels: row.labels,
    ...(withData && { Data: row.data }),
    ...(row.templating && { Templating: { Name: row.templating } }),
  },
});
