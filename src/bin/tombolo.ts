import { readFileSync } from "node:fs";
import { request } from "node:http";
import { Command } from "commander";
import type { AuditLine } from "../engine/engine.ts";
import { labCommand } from "./lab.ts";

const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

/** One GET at the daemon's socket. @throws when nobody listens there or the answer is not 200 */
function get(host: string, path: string): Promise<unknown> {
  const socketPath = /^unix:\/\/(\/.+)$/.exec(host)?.[1];
  if (socketPath === undefined) throw new Error(`host ${host}: wants unix:///path`);
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, headers: { host: "tombolo" } }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const body = JSON.parse(Buffer.concat(chunks).toString()) as { message?: string };
        if (response.statusCode === 200) resolve(body);
        else reject(new Error(body.message ?? `status ${response.statusCode}`));
      });
    });
    call.on("error", (error) => reject(new Error(`cannot connect to tombolod at ${host}: ${error.message}`)));
    call.end();
  });
}

const program = new Command("tombolo").description("what Docker has no words for").version(manifest.version);
program.option(
  "-H, --host <socket>",
  "the daemon's socket",
  process.env.DOCKER_HOST ?? "unix:///run/tombolo/docker.sock",
);
program
  .command("audit")
  .description("what the daemon wants against what there is; exit status 0 only when they are the same")
  .option("--json", "print the lines as JSON")
  .action(async (options: { readonly json?: boolean }) => {
    const lines = (await get(program.opts<{ host: string }>().host, "/tombolo/audit")) as AuditLine[];
    if (options.json === true) console.log(JSON.stringify(lines, null, 2));
    else
      for (const { where, what, key, owner } of lines)
        console.log([where, what, key, owner ?? ""].join("\t").trimEnd());
    if (lines.length > 0) process.exitCode = 1;
    else if (options.json !== true) console.log("0 differences");
  });
program.addCommand(labCommand());

try {
  await program.parseAsync();
} catch (error) {
  console.error(`tombolo: ${(error as Error).message}`);
  process.exitCode = 2;
}
