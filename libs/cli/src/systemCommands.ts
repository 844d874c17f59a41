/** `capstan system …` and `capstan version`: what runs, and whether it is well. */
import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { ExitError, exitCodes, UnreachableError, UsageError } from "./failure.ts";
import { formatHealth, type ServiceHealth } from "./healthView.ts";
import { withOutput } from "./options.ts";
import { type OutputFormat, print } from "./output.ts";
import { addSelfCommands } from "./selfCommands.ts";

/** The version of this installation. */
export function readVersion(): string {
  const file = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(file) as { readonly version: string }).version;
}

/** What `/readyz` says; a platform in one process has several services. */
interface Readiness {
  readonly services?: readonly ServiceHealth[];
}

async function askReadiness(url: string): Promise<{ readonly isReady: boolean; readonly readiness: Readiness }> {
  if (!URL.canParse(url)) throw new UsageError("--health-url must be http://host:port");
  try {
    const response = await fetch(new URL("/readyz", url), { signal: AbortSignal.timeout(10_000) });
    return { isReady: response.ok, readiness: (await response.json()) as Readiness };
  } catch (error) {
    const hint = "start the platform with npm start, or set CAPSTAN_HEALTH_URL";
    throw new UnreachableError(`cannot read the health of Capstan at ${url}; ${hint}`, { cause: error });
  }
}

async function printHealth(options: { readonly output: OutputFormat; readonly healthUrl: string }): Promise<void> {
  const { isReady, readiness } = await askReadiness(options.healthUrl);
  await print(options.output, readiness, () => formatHealth(readiness.services ?? []));
  if (!isReady) throw new ExitError(exitCodes.refused);
}

/** Adds `capstan system …`. */
export function addSystemCommands(system: Command): void {
  withOutput(system.command("health"))
    .description("Show what the platform depends on and its loops. Exit code 0 if it is ready, 1 if not.")
    .addOption(
      new Option("--health-url <url>", "where health is served")
        .env("CAPSTAN_HEALTH_URL")
        .default("http://127.0.0.1:7180"),
    )
    .action(printHealth);
  addSelfCommands(system);
}

/** Adds `capstan version`. */
export function addVersionCommand(program: Command): void {
  withOutput(program.command("version"))
    .description("Print the version of this command and of the Node that runs it.")
    .action(async ({ output }: { readonly output: OutputFormat }) => {
      const versions = { capstan: readVersion(), node: process.version };
      await print(output, versions, () => `capstan ${versions.capstan} (Node.js ${versions.node})\n`);
    });
}
