import { createHash } from "node:crypto";
import { code, type ContainerdClient, hasCode } from "../containerd/client.ts";
import { WriteAction } from "../containerd/gen/content_pb.ts";

/** A blob by digest (OCI image specification, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}
export const sha256 = (data: Uint8Array | string) => `sha256:${createHash("sha256").update(data).digest("hex")}`;
const largestDocument = 4 << 20; // bytes of a manifest or a configuration

/** Writes a small blob. It must be referenced, or leased, before anybody collects garbage. */
export async function writeDocument(
  client: ContainerdClient,
  data: Uint8Array,
  mediaType: string,
  labels: Readonly<Record<string, string>>,
  lease: string,
): Promise<Descriptor> {
  const descriptor = { mediaType, digest: sha256(data), size: data.length };
  await writeBlob(
    client,
    descriptor,
    (async function* () {
      yield data;
    })(),
    labels,
    lease,
  );
  return descriptor;
}

/**
 * Writes a blob as it comes; containerd checks size and digest before it is there at all.
 * @throws containerd's refusal of another digest
 */
export async function writeBlob(
  client: ContainerdClient,
  { digest, size }: Pick<Descriptor, "digest" | "size">,
  data: AsyncIterable<Uint8Array>,
  labels: Readonly<Record<string, string>>,
  lease: string,
): Promise<void> {
  const ref = `tombolo-${lease}-${digest}`;
  const call = client.content.write({ lease });
  const replies = call[Symbol.asyncIterator]();
  const ask = async (message: Parameters<typeof call.write>[0]) => {
    call.write(message);
    const { value, done } = await replies.next();
    if (done) throw new Error("containerd ended the write");
    return value;
  };
  try {
    await ask({ action: WriteAction.STAT, ref, total: BigInt(size), expected: digest });
    let offset = 0n;
    for await (const chunk of data) {
      for (let at = 0; at < chunk.length; at += 1 << 20) {
        const part = chunk.subarray(at, at + (1 << 20));
        await ask({ action: WriteAction.WRITE, ref, offset, data: part });
        offset += BigInt(part.length);
      }
    }
    await ask({
      action: WriteAction.COMMIT,
      ref,
      offset,
      total: BigInt(size),
      expected: digest,
      labels: { ...labels },
    });
    call.end();
  } catch (error) {
    call.cancel();
    if (hasCode(error, code.exists)) return relabel(client, digest, labels);
    await client.content.abort({ ref }).catch(() => {}); // nothing was begun
    throw error;
  }
}

/** It is there already, perhaps without what it must now keep. */
async function relabel(
  client: ContainerdClient,
  digest: string,
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  const paths = Object.keys(labels).map((label) => `labels.${label}`);
  if (paths.length > 0) await client.content.update({ info: { digest, labels: { ...labels } }, updateMask: { paths } });
}

export async function hasBlob(client: ContainerdClient, digest: string): Promise<boolean> {
  try {
    await client.content.info({ digest });
    return true;
  } catch (error) {
    if (hasCode(error, code.notFound)) return false;
    throw error;
  }
}

export async function* readBlob(client: ContainerdClient, digest: string): AsyncIterable<Uint8Array> {
  for await (const { data } of client.content.read({ digest })) yield data;
}

/** Reads a small blob as JSON. */
export async function readDocument<T>(client: ContainerdClient, digest: string): Promise<T> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of readBlob(client, digest)) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > largestDocument) throw new Error(`${digest} is too large for a manifest or configuration`);
  }
  return JSON.parse(Buffer.concat(chunks).toString("utf8")) as T;
}
