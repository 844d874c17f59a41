/**
 * `npm run bench`: the platform's figures beside the bare limits of the machine, all from one run. Prints a table of medians and
 * ranges, and the same as JSON to the file named by --json. Never passes or fails on a figure.
 */
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { connect } from "@capstan/client";
import { connect as connectNats } from "@nats-io/transport-node";
import { Client } from "pg";
import { startEmbeddedNats } from "../../services/standalone/src/embeddedNats.ts";
import { startEmbeddedPostgres } from "../../services/standalone/src/embeddedPostgres.ts";
import type { BareResult } from "./bare.ts";
import { latencies, runJobs, submitBatches, submitSingle } from "./load.ts";
import { cpuMs, proportionalMib, residentMib, treeOf } from "./processes.ts";

const argument = (name: string, fallback: string) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : (process.argv[at + 1] ?? fallback);
};
const runs = Number(argument("runs", "3"));
const jobs = Number(argument("jobs", "3000"));
const containers = Number(argument("containers", "40"));
const jsonFile = argument("json", "");
const grpcAddress = "127.0.0.1:7190";
const concurrency = 16;

const figures = new Map<string, { unit: string; values: number[] }>();

function note(name: string, unit: string, value: number): void {
  const figure = figures.get(name) ?? { unit, values: [] };
  figure.values.push(value);
  figures.set(name, figure);
  process.stderr.write(`  ${name}: ${value.toFixed(1)} ${unit}\n`);
}

async function bare(what: string, count: number, lanes: number): Promise<BareResult> {
  const script = join(import.meta.dirname, "bare.ts");
  const { stdout } = await promisify(execFile)(process.execPath, [script, what, String(count), String(lanes)]);
  return JSON.parse(stdout) as BareResult;
}

async function hasBusybox(): Promise<boolean> {
  return bare("container", 1, 1).then(
    () => true,
    () => false,
  );
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

const directory = await mkdtemp(join(tmpdir(), "capstan-bench-"));
const preload = { shared_preload_libraries: "pg_stat_statements" };
const postgres = await startEmbeddedPostgres({ directory: join(directory, "postgres"), port: 0, settings: preload });
const natsServer = await startEmbeddedNats({ directory: join(directory, "nats"), port: 0 });
const environment = {
  ...process.env,
  CAPSTAN_DATABASE_URL: postgres.url,
  CAPSTAN_NATS_URL: natsServer.url,
  CAPSTAN_GRPC_ADDRESS: grpcAddress,
  CAPSTAN_HEALTH_ADDRESS: "127.0.0.1:7191",
  CAPSTAN_DATA_DIR: directory,
};
// Exactly what `npm start` runs: its flags keep the heap small.
const root = join(import.meta.dirname, "../..");
const { scripts } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { scripts: { start: string } };
const platform = spawn(process.execPath, scripts.start.split(" ").slice(1), {
  cwd: root,
  env: environment,
  stdio: ["ignore", "pipe", "inherit"],
});
await new Promise<void>((resolve, reject) => {
  platform.stdout.on("data", (data: Buffer) => data.toString().includes("ready") && resolve());
  platform.on("exit", (code) => reject(new Error(`the platform ended with ${code}`)));
});
const capstan = connect({ address: grpcAddress });
const nats = await connectNats({ servers: natsServer.url });
const admin = new Client({ connectionString: postgres.url });
await admin.connect();
await admin.query("create extension if not exists pg_stat_statements");
const standalonePid = platform.pid ?? 0;
const roots = [standalonePid, postgres.pid, natsServer.pid];

async function statements(): Promise<number> {
  const { rows } = await admin.query<{ calls: string }>(
    "select sum(calls) as calls from pg_stat_statements where query not ilike '%pg_stat_statements%'",
  );
  return Number(rows[0]?.calls ?? 0);
}

async function measureJobs(): Promise<void> {
  const bareSpawn = await bare("spawn", 1_500, concurrency);
  note("bare spawn of /bin/true", "1/s", bareSpawn.perSecond);
  const [cpuBefore, statementsBefore] = [cpuMs(roots), await statements()];
  const { jobsPerSecond } = await runJobs(capstan, nats, jobs, { command: ["/bin/true"] });
  note("process jobs, end to end", "jobs/s", jobsPerSecond);
  note("share of the bare spawn rate", "%", (100 * jobsPerSecond) / bareSpawn.perSecond);
  note("CPU per process job, all processes", "ms", (cpuMs(roots) - cpuBefore) / jobs);
  note("SQL statements per process job", "", ((await statements()) - statementsBefore) / jobs);
}

async function measureContainers(): Promise<void> {
  const lanes = cpus().length * 2;
  const bareRun = await bare("container", containers, lanes);
  note("bare create-start-wait-remove", "1/s", bareRun.perSecond);
  const { jobsPerSecond } = await runJobs(capstan, nats, containers, {
    image: "busybox",
    command: ["true"],
    resources: { memoryMib: 64 },
  });
  note("container jobs, end to end", "jobs/s", jobsPerSecond);
  note("share of the bare container rate", "%", (100 * jobsPerSecond) / bareRun.perSecond);
}

async function measureLatency(): Promise<void> {
  const values = await latencies(capstan, nats, 50, 10);
  for (const share of [0.5, 0.95, 0.99])
    note(`submit to running at 50 jobs/s, p${share * 100}`, "ms", percentile(values, share));
}

async function measureIdle(seconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  const [cpuBefore, statementsBefore, start] = [cpuMs(roots), await statements(), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  const elapsed = (performance.now() - start) / 1_000;
  note("idle CPU, all processes", "% of a core", (cpuMs(roots) - cpuBefore) / elapsed / 10);
  note("idle SQL statements", "1/s", ((await statements()) - statementsBefore) / elapsed);
}

function measureMemory(): void {
  note("memory of standalone", "MiB", residentMib(standalonePid));
  const children = treeOf([standalonePid]).filter(({ pid }) => pid !== standalonePid);
  note("memory of its spawners", "MiB", proportionalMib(children.map(({ pid }) => pid)));
  note("memory of Postgres", "MiB", proportionalMib(treeOf([postgres.pid]).map(({ pid }) => pid)));
  note("memory of NATS", "MiB", residentMib(natsServer.pid));
}

function table(): string {
  const rows = [...figures].map(([name, { unit, values }]) => {
    const [low, middle, high] = [Math.min(...values), percentile(values, 0.5), Math.max(...values)].map((n) =>
      n.toFixed(n < 10 ? 2 : 0),
    );
    return `| ${name} | ${middle} ${unit} | ${low} – ${high} |`;
  });
  return ["| figure | median | range |", "|---|---|---|", ...rows].join("\n");
}

try {
  const withContainers = await hasBusybox();
  await runJobs(capstan, nats, 500, { command: ["/bin/true"] });
  for (let run = 1; run <= runs; run += 1) {
    process.stderr.write(`run ${run} of ${runs}\n`);
    await measureLatency();
    await measureJobs();
    if (withContainers) await measureContainers();
    note("submit, one job a call", "jobs/s", await submitSingle(capstan, 2_000));
    note("submit, 1,000 jobs a call", "jobs/s", await submitBatches(capstan, 10));
    await measureIdle(15);
    measureMemory();
  }
  const machine = `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
  if (!withContainers) console.log("Containers were left out: no Docker engine with a busybox image answers.\n");
  console.log(`${machine}, ${new Date().toISOString().slice(0, 10)}, ${runs} runs of ${jobs} jobs\n\n${table()}`);
  if (jsonFile !== "")
    await writeFile(jsonFile, `${JSON.stringify({ machine, figures: Object.fromEntries(figures) }, null, 2)}\n`);
} finally {
  capstan.close();
  await nats.close();
  await admin.end();
  platform.removeAllListeners("exit");
  const ended = new Promise((resolve) => platform.once("exit", resolve));
  platform.kill("SIGTERM");
  await ended;
  await natsServer.stop();
  await postgres.stop();
  await rm(directory, { recursive: true, force: true });
}
