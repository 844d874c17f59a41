/**
 * `capstan doctor`: whether everything that must hold holds. Speaks to Postgres, NATS and the engines itself; the platform need not
 * run. What is found counts when it is older than a grace time and is found again a little later, so that a platform at work is well.
 */
import {
  connectDoctor,
  type Doctor,
  type InvariantName,
  invariantNames,
  invariants,
  type Report,
} from "@capstan/doctor";
import { type Command, Option } from "commander";
import { formatInvariants, formatReport, type RepairState, reportJson } from "./doctorView.ts";
import { ExitError, exitCodes, UnreachableError, UsageError } from "./failure.ts";
import { collect, durationMs, limitOption, withOutput } from "./options.ts";
import { note, type OutputFormat, print, terminalWidth } from "./output.ts";
import { whoAmI } from "./session.ts";
import { suggest } from "./suggestion.ts";

interface DoctorOptions {
  readonly output: OutputFormat;
  readonly json?: true;
  readonly list?: true;
  readonly only?: readonly string[];
  readonly fix?: true;
  readonly dryRun?: true;
  readonly databaseUrl?: string;
  readonly natsUrl: string;
  readonly grace: number;
  readonly againAfter: number;
  readonly timeout: number;
  readonly limit: number;
}

/** So many of each stream are read; older ones have been looked at before. */
const streamLimit = 200_000;

const examinable: readonly InvariantName[] = invariantNames.filter((name) => invariants[name].holds !== "at rest");

function chooseNames(only: readonly string[] | undefined): readonly InvariantName[] {
  if (only === undefined) return examinable;
  const unknown = only.filter((name) => !examinable.some((known) => known === name));
  if (unknown.length > 0) {
    throw new UsageError(
      "there is no such invariant; capstan doctor --list shows them all",
      unknown.map((name) => {
        const near = suggest(name, examinable);
        return near === null ? name : `${name}: did you mean ${near}?`;
      }),
    );
  }
  return examinable.filter((name) => only.includes(name));
}

async function open(options: DoctorOptions): Promise<Doctor> {
  const { databaseUrl = "", natsUrl, grace, againAfter, limit, timeout } = options;
  if (databaseUrl === "") throw new UsageError("give --database-url, or set CAPSTAN_DATABASE_URL", [urlHint]);
  if (!/^postgres(ql)?:/.test(databaseUrl) || !URL.canParse(databaseUrl)) {
    throw new UsageError("--database-url must be postgres://user:password@host:port/database");
  }
  if (!natsUrl.split(",").every((url) => URL.canParse(url)))
    throw new UsageError("--nats-url must be nats://host:port");
  const waits = { graceMs: grace, againMs: againAfter, timeoutMs: timeout };
  try {
    return await connectDoctor({ databaseUrl, natsUrl, limit, streamLimit, ...waits });
  } catch (error) {
    const { message } = error as Error;
    throw new UnreachableError(`cannot open the database at ${new URL(databaseUrl).host}: ${message}`, {
      cause: error,
    });
  }
}

const urlHint =
  "it must be a role that may read all schemas: the administrator's, as for migrate, or one that was granted pg_read_all_data; a service's own sees its schema only";

function refuseBadAccess({ access: { role, missing, forbidden } }: Doctor): void {
  if (missing.length > 0) {
    throw new UsageError(`this database has no schema ${missing.join(", ")}`, [
      "is it the right database? capstan migrate up makes what is missing",
    ]);
  }
  if (forbidden.length > 0) throw new UsageError(`${role} may not read ${forbidden.join(", ")}`, [urlHint]);
}

async function run(options: DoctorOptions): Promise<void> {
  const output = options.json ? "json" : options.output;
  if (options.dryRun && !options.fix) throw new UsageError("--dry-run says what --fix would do; give both");
  const names = chooseNames(options.only);
  if (options.list) return listInvariants(output, names);
  const doctor = await open(options);
  try {
    refuseBadAccess(doctor);
    const report = await doctor.examine(names);
    const repairs = options.fix ? await repairAll(doctor, report, options.dryRun === true) : new Map();
    await print(output, reportJson(report, repairs), () => formatReport(report, repairs));
    if (report.silentEngines.length > 0) {
      note(
        `the engine of ${report.silentEngines.join(", ")} does not answer from here; its containers were not looked at`,
      );
    }
    if (report.broken.length > 0) throw new ExitError(exitCodes.unsuccessful);
    if (report.unexamined.length > 0) throw new ExitError(exitCodes.unreachable);
  } finally {
    await doctor.close();
  }
}

/** One after the other: a repair that fails does not keep the others from being done. */
async function repairAll(
  doctor: Doctor,
  { broken }: Report,
  isDry: boolean,
): Promise<ReadonlyMap<InvariantName, RepairState>> {
  const states = new Map<InvariantName, RepairState>();
  for (const { name, findings } of broken) {
    if (invariants[name].repair === undefined) continue;
    if (isDry) {
      states.set(name, { state: "planned" });
      continue;
    }
    const failure = await doctor.repair(name, findings, whoAmI()).then(
      () => null,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    states.set(name, failure === null ? { state: "done" } : { state: "failed", failure });
  }
  return states;
}

async function listInvariants(output: OutputFormat, names: readonly InvariantName[]): Promise<void> {
  const listed = names.map((name) => {
    const { severity, finding, meaning, advice, repair } = invariants[name];
    return { name, severity, finding, meaning, advice, repair: repair?.does ?? "" };
  });
  await print(output, listed, () => formatInvariants(names, terminalWidth()));
}

/** Adds `capstan doctor`. */
export function addDoctorCommand(program: Command): void {
  withOutput(program.command("doctor"))
    .description(
      "Look whether everything that must hold holds, in Postgres, NATS and the engines; the platform need not run.",
    )
    .option("--json", "the same as --output json")
    .option("--only <name>", "this invariant; may be repeated", collect)
    .option("--list", "show the invariants, and examine nothing")
    .option("--fix", "repair what can be repaired safely; the rest says what to do")
    .option("--dry-run", "with --fix: say what would be repaired, and change nothing")
    .addOption(
      new Option("--database-url <url>", "a role that may read all schemas, and with --fix write them").env(
        "CAPSTAN_DATABASE_URL",
      ),
    )
    .addOption(
      new Option("--nats-url <url>", "where NATS listens").env("CAPSTAN_NATS_URL").default("nats://127.0.0.1:7122"),
    )
    .addOption(
      new Option("--grace <duration>", "how long something may be under way")
        .argParser(durationMs)
        .default(60_000, "1m"),
    )
    .addOption(
      new Option("--again-after <duration>", "when to look again for what was found; only what is still there counts")
        .argParser(durationMs)
        .default(15_000, "15s"),
    )
    .addOption(
      new Option("--timeout <duration>", "for each invariant; what takes longer is not examined")
        .argParser(durationMs)
        .default(60_000, "1m"),
    )
    .addOption(limitOption().default(100))
    .addHelpText("after", doctorHelp)
    .action(run);
}

const doctorHelp = `
Exit codes:
  0  nothing was found
  1  something unforeseen has happened
  2  bad usage, or a role that may not read all schemas
  3  the database cannot be reached, or not everything could be examined
  4  something was found

Examples:
  capstan doctor --database-url postgres://postgres:…@host/capstan
  capstan doctor --database-url "postgres://postgres:$(cat .capstan/postgres/password)@127.0.0.1:7132/postgres"
  capstan doctor --only streams-hold-the-log --fix --dry-run`;
