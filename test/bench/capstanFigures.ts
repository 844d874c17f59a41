/** Everything that is measured of Capstan itself: opens the platform and a load process for each run's parts. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Capstan, connect } from "@capstan/client";
import { connect as connectNats, type NatsConnection } from "@nats-io/transport-node";
import { Client } from "pg";
import { type Sources, statements, untilQuiet } from "./counters.ts";
import { countFacts } from "./countFacts.ts";
import { createEnds } from "./ends.ts";
import { createFigures, type Figures, percentile } from "./figures.ts";
import { measureGateway } from "./gatewayFigures.ts";
import { measureLive } from "./liveFigures.ts";
import { startLoad } from "./load.ts";
import type { Options } from "./options.ts";
import { measurePasses } from "./passFigures.ts";
import { type Platform, startPlatform } from "./platform.ts";
import { cpuMs, proportionalMib, residentMib, treeOf } from "./processes.ts";
import { hasBusybox, measureContainers, measureProcesses, measureSubmit, warmUp } from "./processFigures.ts";
import { measureSchedules } from "./scheduleFigures.ts";
import type { Servers } from "./servers.ts";
import { measureBacklog, measureHandlers, type Subject } from "./workerFigures.ts";
import { measureWorkflows } from "./workflowFigures.ts";

const database = "postgres";

interface Bench {
  readonly servers: Servers;
  readonly platform: Platform;
  readonly nats: NatsConnection;
  readonly sources: Sources;
  readonly figures: Figures;
  readonly options: Options;
}

export async function measureCapstan(servers: Servers, options: Options): Promise<Figures> {
  const figures = createFigures("Capstan");
  const platform = await startPlatform(servers);
  const nats = await connectNats({ servers: servers.nats.url });
  const processes = { platform: [platform.pid], Postgres: [servers.postgres.pid], NATS: [servers.nats.pid] };
  const sources = { admin: servers.admin, database, processes, nats, rpcs: platform.rpcs };
  try {
    await measureRuns({ servers, platform, nats, sources, figures, options });
  } finally {
    await nats.close();
    await platform.stop();
  }
  return figures;
}

async function measureRuns(bench: Bench): Promise<void> {
  const { platform, options } = bench;
  const capstan = connect({ address: platform.grpcAddress });
  const jobs = { ...bench, capstan };
  const withContainers = options.parts.has("containers") && (await hasBusybox());
  if (options.parts.has("containers") && !withContainers)
    console.log("Containers were left out: no Docker engine with a busybox image answers.\n");
  try {
    if (options.parts.has("processes")) await warmUp(jobs);
    for (let run = 1; run <= options.runs; run += 1) {
      process.stderr.write(`Capstan, run ${run} of ${options.runs}\n`);
      await measureJobs(jobs, withContainers);
      if (options.parts.has("idle")) await measureIdle(bench);
      if (options.parts.has("gateway")) await measureGateway(jobs, options.httpSeconds);
      if (options.parts.has("live")) await measureLive(jobs);
      if (options.parts.has("schedules")) await measureSchedules(jobs, (name) => noteIdle(bench, name));
    }
  } finally {
    capstan.close();
  }
}

/** What the platform does with jobs: of handlers, workflows, processes and containers. */
async function measureJobs(jobs: Bench & { readonly capstan: Capstan }, withContainers: boolean): Promise<void> {
  const { options } = jobs;
  if (options.parts.has("workers") || options.parts.has("backlog")) await measureWorkers(jobs);
  if (options.parts.has("workflows")) await measureChains(jobs);
  if (options.parts.has("passes")) await measurePasses(jobs.servers, jobs.figures, options);
  if (options.parts.has("processes")) await measureProcesses(jobs, options);
  if (withContainers) await measureContainers(jobs, options);
  if (options.parts.has("submit")) await measureSubmit(jobs);
}

async function measureWorkers(bench: Bench): Promise<void> {
  const { options, figures, platform } = bench;
  const subject = await openSubject(bench);
  try {
    if (options.parts.has("workers")) await measureHandlers(subject, options);
    if (!options.parts.has("backlog")) return;
    const waiting = `with ${options.backlog.toLocaleString("en")} jobs waiting`;
    await measureBacklog(subject, options, async () => {
      figures.note(`memory of standalone ${waiting}`, "MiB", residentMib(platform.pid));
      await noteBeside(bench, waiting);
    });
  } finally {
    await subject.close();
  }
}

async function measureChains({ platform, servers, figures, options, capstan }: Bench & { readonly capstan: Capstan }) {
  const load = await startLoad("capstan", platform.grpcAddress);
  const roots = [platform.pid, servers.postgres.pid, servers.nats.pid, load.pid];
  await measureWorkflows({ capstan, load, figures, roots }, options);
  await load.stop();
}

/** What a long queue costs those who do not stand in it: jobs of another pool, one after the other. */
async function noteBeside({ platform, figures }: Bench, waiting: string): Promise<void> {
  const capstan = connect({ address: platform.grpcAddress });
  const starts: number[] = [];
  const handlers = { aside: async () => void starts.push(performance.now()) };
  const worker = await capstan.worker({ pool: "bench-aside", slots: 10, handlers });
  const latencies: number[] = [];
  for (let each = 0; each < jobsBeside; each += 1) {
    const start = performance.now();
    const job = await capstan.jobs.submit({ name: "bench-aside", handler: "aside", pool: "bench-aside" });
    await job.result();
    latencies.push((starts.at(-1) ?? Number.NaN) - start);
  }
  for (const share of [0.5, 0.99])
    figures.note(
      `submit to handler start in another pool ${waiting}, p${share * 100}`,
      "ms",
      percentile(latencies, share),
    );
  await worker.stop();
  capstan.close();
}

const jobsBeside = 200;

/** Capstan as a thing that runs handlers, its ends counted by the facts on NATS. */
async function openSubject(bench: Bench): Promise<Subject & { close(): Promise<void> }> {
  const { platform, servers, sources, figures } = bench;
  const ends = createEnds();
  const unsubscribe = await countFacts(bench.nats, ends);
  const load = await startLoad("capstan", platform.grpcAddress);
  const client = new Client({ connectionString: servers.postgres.url });
  await client.connect();
  const jobsByState = async () => {
    const { rows } = await client.query<{ state: string; jobs: number }>(
      "select state, count(*)::int as jobs from job.job where name = 'bench-handler' group by state",
    );
    return new Map(rows.map(({ state, jobs }) => [state, jobs]));
  };
  let succeeded = (await jobsByState()).get("SUCCEEDED") ?? 0;
  return {
    load,
    ends,
    figures,
    hasUnary: true,
    sources: { ...sources, processes: { ...sources.processes, "worker and client": [load.pid] } },
    settle: async () => {}, // a fact is published after its commit
    async check(jobs) {
      const states = await jobsByState();
      const now = states.get("SUCCEEDED") ?? 0;
      const others = [...states.keys()].filter((state) => state !== "SUCCEEDED");
      if (others.length > 0 || now - succeeded !== jobs)
        throw new Error(`of ${jobs} jobs ${now - succeeded} have succeeded; all by state: ${[...states].join("; ")}`);
      succeeded = now;
    },
    async areWaiting(jobs) {
      const giveUp = performance.now() + 600_000;
      for (let waiting = -1; waiting !== jobs; await sleep(100)) {
        const { rows } = await client.query<{ jobs: number }>(
          "select count(*)::int as jobs from orchestrator.saga where stage = 'WAITING' and job_name = 'bench-handler'",
        );
        waiting = rows[0]?.jobs ?? 0;
        if (performance.now() > giveUp)
          throw new Error(`${waiting} of ${jobs} jobs wait in the orchestrator after 600 s`);
      }
    },
    async close() {
      unsubscribe();
      await load.stop();
      await client.end();
    },
  };
}

async function measureIdle(bench: Bench): Promise<void> {
  const { servers, platform, figures, options } = bench;
  await noteIdle(bench, "idle");
  const children = treeOf([platform.pid]).filter(({ pid }) => pid !== platform.pid);
  figures.note("memory of standalone", "MiB", residentMib(platform.pid));
  figures.note("memory of its spawners", "MiB", proportionalMib(children.map(({ pid }) => pid)));
  figures.note("memory of Postgres", "MiB", proportionalMib(treeOf([servers.postgres.pid]).map(({ pid }) => pid)));
  figures.note("memory of NATS", "MiB", residentMib(servers.nats.pid));
  const load = await startLoad("capstan", platform.grpcAddress);
  await load.work(options.slots);
  await noteIdle(bench, "idle, with a worker connected");
  await load.stop();
}

/** What the platform with its servers does while nothing is asked of it. */
async function noteIdle({ servers, sources, figures, options }: Bench, name: string): Promise<void> {
  const roots = Object.values(sources.processes).flat();
  await untilQuiet(sources);
  const [cpuBefore, callsBefore, start] = [cpuMs(roots), await statements(servers.admin, database), performance.now()];
  await sleep(options.idleSeconds * 1_000);
  const seconds = (performance.now() - start) / 1_000;
  figures.note(`${name}: CPU, platform, Postgres and NATS`, "ms/s", (cpuMs(roots) - cpuBefore) / seconds);
  const calls = (await statements(servers.admin, database)) - callsBefore;
  figures.note(`${name}: SQL statements`, "1/s", calls / seconds);
}
