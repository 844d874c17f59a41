/**
 * `npm run test:chaos`: a platform of its own, load on it, faults by a seed, then healing, quiet, and the verdict of an independent
 * checker. Exit code 1 when a promise was broken, a fault failed, or nothing was done; README.md says how to read the rest.
 */
import { appendFile, cp, mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { createRandom } from "../support/random.ts";
import { check, type Violation } from "./checker.ts";
import { listContainers } from "./engine.ts";
import { type Counts, countAll, tableOf, timesOf } from "./figures.ts";
import { openHistory } from "./history.ts";
import { createJobs } from "./jobs.ts";
import { readLedger } from "./ledger.ts";
import { startLoad } from "./load.ts";
import { compareMemory, type MemorySeen, readMemory, warmUpMs } from "./memory.ts";
import { breakThings, type Done, kinds, leftOut } from "./nemesis.ts";
import { readOptions } from "./options.ts";
import { type Platform, preparePlatform } from "./platform.ts";
import { openProbes } from "./probes.ts";
import { listMarkedProcesses } from "./processes.ts";
import { untilQuiet } from "./quiet.ts";
import { readStreams } from "./streams.ts";

const options = readOptions(process.argv.slice(2), kinds);
const history = openHistory();
const startTime = new Date();

function say(text: string): void {
  console.log(text);
}

const inSeconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;

function describe({ kind, target, figures, beginMs, endMs, failure }: Done): string {
  const measured = Object.entries(figures).map(([name, ms]) => `${name} ${inSeconds(ms)}`);
  const told = failure === null ? [target, ...measured].join("; ") : `FAILED: ${failure}`;
  return `  ${inSeconds(beginMs).padStart(8)} to ${inSeconds(endMs).padStart(8)}  ${kind}: ${told}`;
}

/** After healing, so long may nothing end that is still under way. A machine that others use too may need longer for all of it. */
const stillMs = 120_000;

interface Run {
  readonly faults: readonly Done[];
  /** Of each service, under load and before the first fault. */
  readonly warm: ReadonlyMap<string, number>;
}

async function runUnderFaults(platform: Platform): Promise<Run> {
  const random = createRandom(options.seed + 1);
  const makeJob = createJobs({ ledgerPath: platform.ledgerPath, random });
  const probes = await openProbes(platform, history, makeJob);
  const load = startLoad({ platform, history, makeJob, random, rate: options.rate });
  try {
    await probes.untilServing();
    await sleep(warmUpMs);
    const warm = await readMemory(platform.services);
    const { seed, minutes, only } = options;
    const onDone = (fault: Done) => say(describe(fault));
    return { faults: await breakThings({ platform, load, probes, seed, minutes, only, onDone }), warm };
  } finally {
    for (const link of platform.links.values()) link.heal();
    platform.engine?.link.heal();
    await load.stop();
    await probes.close();
  }
}

interface Verdict {
  readonly violations: readonly Violation[];
  readonly counts: Counts;
}

async function judge(platform: Platform, memory: readonly MemorySeen[]): Promise<Verdict> {
  const client = new Client({ connectionString: platform.databaseUrl, query_timeout: 300_000 });
  await client.connect();
  try {
    const violations = await check(client, {
      history,
      effects: readLedger(platform.ledgerPath),
      streams: await readStreams(platform.nats.url),
      containerEvents: platform.engine?.events ?? [],
      containers: platform.engine === null ? [] : await listContainers(platform.engine.docker),
      processes: await listMarkedProcesses(),
      memory,
    });
    return { violations, counts: await countAll(client) };
  } finally {
    await client.end();
  }
}

/** What holds of the run itself: it did something, and everything ended in order. */
function judgeRun(faults: readonly Done[], counts: Counts, left: string, ends: readonly string[]): Violation[] {
  const broken = (rule: string, says: string, refs: readonly string[]): Violation[] =>
    refs.length === 0 ? [] : [{ rule, says, count: refs.length, refs }];
  const failed = faults.filter(({ failure }) => failure !== null);
  return [
    ...broken("F1", "no fault was done, so that the run shows nothing", faults.length === 0 ? ["0 faults"] : []),
    ...broken("F2", "nothing was accepted, so that the run shows nothing", counts.accepted === 0 ? ["0 jobs"] : []),
    ...broken("F3", "the platform did not recover, or a fault could not be done", failed.map(describe)),
    ...broken("F4", "the platform did not come to rest", left === "" ? [] : [left]),
    ...broken("H7", "something did not end in order, or was left behind", ends),
  ];
}

/** Passwords in what the services logged; H9. */
function findSecrets({ services, secret }: Platform): readonly string[] {
  return services.flatMap(({ label, log }) =>
    log.filter((line) => JSON.stringify(line).includes(secret)).map(({ msg }) => `${label} logged a password: ${msg}`),
  );
}

async function findLeftSessions(platform: Platform): Promise<readonly string[]> {
  const rows = await platform.query(
    "select application_name as name from pg_stat_activity where application_name like 'capstan-%'",
  );
  return rows.map(({ name }) => `a session of ${name}`);
}

async function keepEvidence(
  platform: Platform,
  violations: readonly Violation[],
  faults: readonly Done[],
): Promise<string> {
  const directory =
    options.evidence === "" ? await mkdtemp(join(tmpdir(), "capstan-chaos-evidence-")) : options.evidence;
  await mkdir(directory, { recursive: true });
  const keep = (name: string, content: unknown) => writeFile(join(directory, name), JSON.stringify(content, null, 1));
  await keep("run.json", { options, startTime, violations, faults });
  await keep("history.json", history);
  await keep("containers.json", platform.engine?.events ?? []);
  for (const { label, log } of [...platform.services, ...platform.workers])
    await writeFile(join(directory, `${label}.log`), log.map((line) => JSON.stringify(line)).join("\n"));
  await cp(platform.ledgerPath, join(directory, "ledger"));
  for (const table of [
    "job.job",
    "job.step",
    "job.event",
    "orchestrator.saga",
    "orchestrator.event",
    "execution.execution",
    "execution.event",
    "execution.runner",
    "provider.provider",
    "provider.reservation",
    "provider.event",
  ]) {
    const rows = await platform.query(`select * from ${table}`).catch(() => []);
    await writeFile(join(directory, `${table}.jsonl`), rows.map((row) => JSON.stringify(row)).join("\n"));
  }
  return directory;
}

function tellVerdict(
  counts: Counts,
  faults: readonly Done[],
  quietMs: number | null,
  memory: readonly MemorySeen[],
  violations: readonly Violation[],
): void {
  say("\nFigures");
  for (const [name, count] of Object.entries(counts)) say(`  ${name.padEnd(42)}${String(count).padStart(9)}`);
  say(`  ${"faults done".padEnd(42)}${String(faults.length).padStart(9)}`);
  say(`  ${"quiet after healing".padEnd(42)}${(quietMs === null ? "never" : inSeconds(quietMs)).padStart(9)}`);
  for (const { label, warmMib, quietMib } of memory)
    say(
      `  ${`MiB of ${label}, warm and quiet`.padEnd(42)}${`${Math.round(warmMib)} ${Math.round(quietMib)}`.padStart(9)}`,
    );
  say(`\n${tableOf(timesOf(faults))}\n`);
  for (const { rule, says, count, refs } of violations) {
    say(`VIOLATION ${rule}: ${says} (${count})`);
    for (const ref of refs.slice(0, 10)) say(`    ${ref}`);
  }
}

const machine = `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
say(
  `seed ${options.seed}, ${options.minutes} minutes, ${options.rate} jobs a second; ${machine}, ${startTime.toISOString()}`,
);
const platform = await preparePlatform();
let isInterrupted = false;
const interrupt = () => {
  if (isInterrupted) process.exit(130);
  isInterrupted = true;
  void platform
    .stop()
    .finally(() => platform.remove())
    .finally(() => process.exit(130));
};
process.on("SIGINT", interrupt);
process.on("SIGTERM", interrupt);

let failed = true;
try {
  await platform.start();
  for (const [kind, why] of leftOut(platform, options.only)) say(`  left out: ${kind}, because ${why}`);
  const { faults, warm } = await runUnderFaults(platform);
  const quiet = await untilQuiet(platform, stillMs, (left) => say(`  still under way: ${left}`));
  const memory = await compareMemory(warm, platform.services);
  const { violations: broken, counts } = await judge(platform, memory);
  const ends = [...(await platform.stop()), ...findSecrets(platform), ...(await findLeftSessions(platform))];
  const violations = [...broken, ...judgeRun(faults, counts, quiet.left, ends)];
  tellVerdict(counts, faults, quiet.afterMs, memory, violations);
  failed = violations.length > 0;
  if (failed) say(`the evidence is in ${await keepEvidence(platform, violations, faults)}`);
  else if (options.json !== "") {
    const times = Object.fromEntries(timesOf(faults));
    const run = {
      startTime,
      machine,
      seed: options.seed,
      minutes: options.minutes,
      counts,
      quietMs: quiet.afterMs,
      times,
    };
    await appendFile(options.json, `${JSON.stringify(run)}\n`);
  }
  say(failed ? `FAILED with seed ${options.seed}` : `every promise was kept, with seed ${options.seed}`);
} finally {
  await platform.stop().catch(() => {});
  await platform.remove();
}
process.exit(failed ? 1 : 0);
