import { readFileSync } from "node:fs";
import { Command } from "commander";
import type { AuditLine } from "../engine/engine.ts";
import { call } from "./call.ts";
import { labCommand } from "./lab.ts";
import { swarmCommand } from "./swarm.ts";

const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const program = new Command("tombolo").description("what Docker has no words for").version(manifest.version);
program.option(
  "-H, --host <socket>",
  "the daemon's socket",
  process.env.DOCKER_HOST ?? "unix:///run/tombolo/docker.sock",
);
const hostOf = () => program.opts<{ host: string }>().host;
program
  .command("audit")
  .description("what the daemon wants against what there is; exit status 0 only when they are the same")
  .option("--json", "print the lines as JSON")
  .action(async (options: { readonly json?: boolean }) => {
    const lines = (await call(hostOf(), "GET", "/tombolo/audit")) as AuditLine[];
    if (options.json === true) console.log(JSON.stringify(lines, null, 2));
    else
      for (const { where, what, key, owner } of lines)
        console.log([where, what, key, owner ?? ""].join("\t").trimEnd());
    if (lines.length > 0) process.exitCode = 1;
    else if (options.json !== true) console.log("0 differences");
  });
program.addCommand(labCommand());
program.addCommand(swarmCommand(hostOf));

try {
  await program.parseAsync();
} catch (error) {
  console.error(`tombolo: ${(error as Error).message}`);
  process.exitCode = 2;
}
