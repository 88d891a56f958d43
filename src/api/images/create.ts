import { invalid, notImplemented } from "../../lib/errors.ts";
import { type Call, progress, type Reply } from "../call.ts";
import { isNameOnly, readAuthHeader, withTag } from "./wire.ts";

/** `POST /images/create`: a pull (`fromImage`) or an import (`fromSrc`). */
export function createImage(call: Call): Reply {
  return (call.query.get("fromSrc") ?? "") === "" ? pullImage(call) : importImage(call);
}

function pullImage({ engine, query, request, signal }: Call): Reply {
  const name = query.get("fromImage") ?? "";
  if (name === "") throw invalid("invalid reference format");
  const reference = withTag(name, query.get("tag") ?? "");
  const platform = query.get("platform") ?? "";
  const auth = readAuthHeader(request.headers["x-registry-auth"]);
  const options = { ...(platform && { platform }), ...(auth && { auth }), allTags: isNameOnly(reference) };
  return progress((tell) => engine.images.pull(reference, options, tell, signal));
}

function importImage({ engine, query, request }: Call): Reply {
  const source = query.get("fromSrc") ?? "";
  if (source !== "-")
    throw notImplemented(`an import from "${source}" is not supported: download it, then import the file`);
  const name = query.get("repo") ?? "";
  const platform = query.get("platform") ?? "";
  const options = {
    ...(name && { reference: withTag(name, query.get("tag") ?? "") }),
    changes: query.getAll("changes"),
    message: query.get("message") ?? "",
    ...(platform && { platform }),
  };
  return progress(async (tell) => {
    const id = await engine.images.import(request, options);
    tell({ status: id });
  });
}
