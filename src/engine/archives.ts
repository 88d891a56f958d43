import { conflict, EngineError, forbidden, invalid, notFound, system } from "../lib/errors.ts";
import type { Container } from "../model/container.ts";
import type { ContainerFiles } from "../runtime/runtime.ts";
import { publishContainer } from "./create-container.ts";
import type { Containers } from "./engine.ts";
import type { Parts } from "./parts.ts";

/** A container whose files are open for one call. */
type Opened = { readonly container: Container; readonly files: ContainerFiles };

/** The verbs of `docker cp` and `docker export`. @param open takes the container's lock while it opens the files */
export function createArchives(
  parts: Parts,
  open: (reference: string, signal: AbortSignal) => Promise<Opened>,
): Pick<Containers, "statPath" | "readArchive" | "writeArchive" | "export"> {
  return {
    async statPath(reference, path, signal) {
      const { files } = await open(reference, signal);
      return explained(reference, path, async () => files.stat(path));
    },
    async readArchive(reference, path, signal) {
      const { container, files } = await open(reference, signal);
      const archive = await explained(reference, path, async () => files.read(path));
      publishContainer(parts, container, "archive-path");
      return archive;
    },
    async writeArchive(reference, path, tar, { noOverwriteDirNonDir, copyUidGid }, signal) {
      const { container, files } = await open(reference, signal);
      const { user } = container.spec;
      const check = (directory: string) => checkWritable(container, directory);
      await explained(reference, path, () =>
        files.write(path, tar, { noOverwriteDirNonDir, check, ...(copyUidGid && user !== "" && { user }) }),
      );
      publishContainer(parts, container, "extract-to-dir");
    },
    async export(reference, signal) {
      const { container, files } = await open(reference, signal);
      publishContainer(parts, container, "export");
      return files.export();
    },
  };
}

/** Docker's rules (moby daemon/archive_unix.go, checkIfPathIsInAVolume): the innermost mount decides, else the root. */
function checkWritable({ spec }: Container, directory: string): void {
  const [mount] = spec.mounts
    .filter((m) => m.type !== "tmpfs" && `${directory}/`.startsWith(`${m.target.replace(/\/+$/, "")}/`))
    .toSorted((a, b) => b.target.length - a.target.length);
  if (mount?.readOnly) throw forbidden("mounted volume is marked read-only");
  if (mount === undefined && spec.readOnlyRoot) throw forbidden("container rootfs is marked read-only");
}

/** Runs `body`, and says in Docker's words what the kernel refused. */
async function explained<R>(reference: string, path: string, body: () => Promise<R>): Promise<R> {
  try {
    return await body();
  } catch (error) {
    if (error instanceof EngineError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") throw notFound(`Could not find the file ${path} in container ${reference}`);
    if (code === "EROFS") throw forbidden("a mount on the way is read-only");
    if (code === "EBUSY") throw conflict(message);
    if (["ENOTDIR", "ELOOP", "EINVAL", "ENAMETOOLONG"].includes(code ?? "")) throw invalid(`${path}: ${message}`);
    throw system(message, error);
  }
}
