/**
 * The figures of jobs that are processes or containers, beside the bare limits of the machine, and of submitting alone. The jobs
 * are submitted and their facts counted as any client could do it.
 */
import { execFile } from "node:child_process";
import { cpus } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Capstan } from "@capstan/client";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { NatsConnection } from "@nats-io/transport-node";
import type { BareResult } from "./bare.ts";
import { noteCosts, type Sources } from "./counters.ts";
import { countFacts } from "./countFacts.ts";
import { createEnds } from "./ends.ts";
import { type Figures, percentile } from "./figures.ts";
import type { Options } from "./options.ts";

export interface Platform {
  readonly capstan: Capstan;
  readonly nats: NatsConnection;
  readonly figures: Figures;
  readonly sources: Sources;
}

const bareSpawnLanes = 16;

async function bare(what: string, count: number, lanes: number): Promise<BareResult> {
  const script = join(import.meta.dirname, "bare.ts");
  const { stdout } = await promisify(execFile)(process.execPath, [script, what, String(count), String(lanes)]);
  return JSON.parse(stdout) as BareResult;
}

export async function hasBusybox(): Promise<boolean> {
  return bare("container", 1, 1).then(
    () => true,
    () => false,
  );
}

export async function warmUp(platform: Platform): Promise<void> {
  await runJobs(platform, 500, { command: ["/bin/true"] });
}

export async function measureProcesses(platform: Platform, { processJobs }: Options): Promise<void> {
  const { figures, sources } = platform;
  await noteLatencies(platform, 50, 10);
  const bareSpawn = await bare("spawn", 1_500, bareSpawnLanes);
  figures.note("bare spawn of /bin/true", "1/s", bareSpawn.perSecond);
  let perSecond = 0;
  await noteCosts(figures, "process job", processJobs, sources, async () => {
    perSecond = await runJobs(platform, processJobs, { command: ["/bin/true"] });
  });
  figures.note("process jobs, end to end", "jobs/s", perSecond);
  figures.note("share of the bare spawn rate", "%", (100 * perSecond) / bareSpawn.perSecond);
}

export async function measureContainers(platform: Platform, { containers }: Options): Promise<void> {
  const { figures } = platform;
  const bareRun = await bare("container", containers, cpus().length * 2);
  figures.note("bare create-start-wait-remove", "1/s", bareRun.perSecond);
  const step = { image: "busybox", command: ["true"], resources: { memoryMib: 64 } };
  const perSecond = await runJobs(platform, containers, step);
  figures.note("container jobs, end to end", "jobs/s", perSecond);
  figures.note("share of the bare container rate", "%", (100 * perSecond) / bareRun.perSecond);
}

/** Of jobs that do not run: one a call with 64 calls under way, and 1,000 a call with two under way. */
export async function measureSubmit({ capstan, figures }: Platform): Promise<void> {
  const later = { notBefore: new Date(Date.now() + 86_400_000).toISOString() };
  const request = aRequest({ command: ["true"] }, later);
  const single = await callsPerSecond(2_000, 64, () => capstan.jobs.submitJob(request));
  figures.note("submit, one job a call", "jobs/s", single);
  const requests = Array.from({ length: 1_000 }, () => request);
  const batches = await callsPerSecond(10, 2, () => capstan.jobs.submitJobs({ requests }, { deadlineMs: 30_000 }));
  figures.note("submit, 1,000 jobs a call", "jobs/s", batches * 1_000);
}

async function callsPerSecond(calls: number, lanes: number, call: () => Promise<unknown>): Promise<number> {
  let left = calls;
  const start = performance.now();
  const lane = async () => {
    while (left > 0) {
      left -= 1;
      await call();
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return (calls * 1_000) / (performance.now() - start);
}

/** Submits `total` jobs in batches and waits until each has succeeded and told so; gives back jobs per second. */
async function runJobs({ capstan, nats }: Platform, total: number, step: object): Promise<number> {
  const ends = createEnds();
  const unsubscribe = await countFacts(nats, ends);
  ends.expect(total);
  const start = performance.now();
  try {
    for (let left = total; left > 0; left -= 500) {
      const requests = Array.from({ length: Math.min(left, 500) }, () => aRequest(step));
      const { results } = await capstan.jobs.submitJobs({ requests }, { deadlineMs: 30_000 });
      for (const { outcome } of results)
        if (outcome?.$case !== "accepted") throw new Error(`refused: ${outcome?.value.message}`);
    }
    await ends.reached();
  } finally {
    unsubscribe();
  }
  return (total * 1_000) / (performance.now() - start);
}

/** Milliseconds from the call to the start of the process, for jobs that come at a steady rate. */
async function noteLatencies({ capstan, nats, figures }: Platform, perSecond: number, seconds: number): Promise<void> {
  const called = new Map<string, number>();
  const started = new Map<string, number>();
  const subscription = nats.subscribe("capstan.v1.*.execution.execution.started.*", {
    callback: (_, message) => {
      const { jobId, time } = message.json<{ jobId: string; time: string }>();
      started.set(jobId, Date.parse(time));
    },
  });
  await nats.flush();
  const submitAt = async (ms: number) => {
    await new Promise((due) => setTimeout(due, ms));
    const at = Date.now();
    const { job } = await capstan.jobs.submitJob(aRequest({ command: ["true"] }));
    called.set(job?.id ?? "", at);
  };
  await Promise.all(Array.from({ length: perSecond * seconds }, (_, n) => submitAt((n * 1_000) / perSecond)));
  const limit = performance.now() + 10_000;
  while (started.size < called.size && performance.now() < limit)
    await new Promise((resolve) => setTimeout(resolve, 20));
  subscription.unsubscribe();
  const values = [...called].flatMap(([id, at]) => {
    const time = started.get(id);
    return time === undefined ? [] : [time - at];
  });
  for (const share of [0.5, 0.95, 0.99])
    figures.note(`submit to running process at 50 jobs/s, p${share * 100}`, "ms", percentile(values, share));
}

function aRequest(step: object, fields: object = {}) {
  const spec = JobSpec.fromJSON({ name: "bench", steps: [step], ...fields });
  return { spec, idempotencyKey: "", requestId: "", validateOnly: false, template: undefined };
}
