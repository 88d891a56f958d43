import { request } from "node:http";

/**
 * One call at the daemon's socket. @param body JSON
 * @returns the answer's JSON @throws when nobody listens there or the answer is not 200
 */
export function call(host: string, method: string, path: string, body?: string): Promise<unknown> {
  const socketPath = /^unix:\/\/(\/.+)$/.exec(host)?.[1];
  if (socketPath === undefined) throw new Error(`host ${host}: wants unix:///path`);
  const headers = { host: "tombolo", ...(body !== undefined && { "Content-Type": "application/json" }) };
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const answer = JSON.parse(Buffer.concat(chunks).toString()) as { message?: string };
        if (response.statusCode === 200) resolve(answer);
        else reject(new Error(answer.message ?? `status ${response.statusCode}`));
      });
    });
    sent.on("error", (error) => reject(new Error(`cannot connect to tombolod at ${host}: ${error.message}`)));
    sent.end(body);
  });
}
