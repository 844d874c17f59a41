/** `capstan system …` and `capstan version`: what runs, and whether it is well. */
import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { formatAge } from "./durations.ts";
import { ExitError, exitCodes, UnreachableError, UsageError } from "./failure.ts";
import { withOutput } from "./options.ts";
import { type OutputFormat, print } from "./output.ts";
import { type Cell, formatTable } from "./table.ts";

/** The version of this installation. */
export function readVersion(): string {
  const file = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(file) as { readonly version: string }).version;
}

/** What `/readyz` says of one thing: a dependency has a duration, a loop the time since its last pass. */
interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly durationMs?: number;
  readonly lastPassMs?: number;
  readonly error?: string;
}

/** What `/readyz` says; a platform in one process has several services. */
interface Readiness {
  readonly services?: readonly {
    readonly service: string;
    readonly dependencies: readonly Check[];
    readonly loops: readonly Check[];
  }[];
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

function timeOf({ durationMs, lastPassMs }: Check): string {
  if (durationMs !== undefined) return `${Math.round(durationMs)} ms`;
  return lastPassMs === undefined ? "" : `${formatAge(lastPassMs)} ago`;
}

function formatReadiness({ services = [] }: Readiness): string {
  const health = ({ ok }: Check): Cell => (ok ? { text: "ok", colour: "green" } : { text: "DOWN", colour: "red" });
  const rows = services.flatMap(({ service, dependencies, loops }) => [
    ...dependencies.map((check) => ({ service, kind: "dependency", check })),
    ...loops.map((check) => ({ service, kind: "loop", check })),
  ]);
  return formatTable(rows, [
    { title: "SERVICE", cell: ({ service }) => service },
    { title: "KIND", cell: ({ kind }) => kind },
    { title: "NAME", cell: ({ check }) => check.name },
    { title: "HEALTH", cell: ({ check }) => health(check) },
    { title: "TIME", cell: ({ check }) => timeOf(check) },
    { title: "ERROR", cell: ({ check }) => check.error ?? "" },
  ]);
}

async function printHealth(options: { readonly output: OutputFormat; readonly healthUrl: string }): Promise<void> {
  const { isReady, readiness } = await askReadiness(options.healthUrl);
  await print(options.output, readiness, () => formatReadiness(readiness));
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
