import { invalid } from "../../lib/errors.ts";
import { type Call, progress, type Reply, stream } from "../call.ts";
import { flag, param } from "../query.ts";

/** `POST /images/load`: the body is an archive, plain or compressed. */
export function loadImages({ engine, request, query }: Call): Reply {
  const quiet = flag(query, "quiet", true);
  return progress((tell) =>
    engine.images.load(request, (line) => {
      if (!quiet || line.progressDetail === undefined) tell(line);
    }),
  );
}

/** `GET /images/get?names=…` */
export async function saveImages(call: Call): Promise<Reply> {
  const names = call.query.getAll("names").filter((name) => name !== "");
  if (names.length === 0) throw invalid("no image names given");
  return save(call, names);
}

/** `GET /images/{name}/get` */
export const saveImage = (call: Call): Promise<Reply> => save(call, [param(call, "name")]);

/** A name that is not there must be told before the first byte. */
async function save({ engine }: Call, names: readonly string[]): Promise<Reply> {
  for (const name of names) await engine.images.find(name);
  return stream("application/x-tar", engine.images.save(names));
}
