/**
 * The figures of REST: how long reads take that come at a steady rate, whatever the answers before them took, and what they leave in
 * memory. The jobs that are read wait for a handler that no worker has.
 */
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Capstan } from "@capstan/client";
import { type Figures, percentile } from "./figures.ts";
import { inLanes } from "./lanes.ts";
import type { Platform } from "./platform.ts";
import { cpuMs, residentMib } from "./processes.ts";

export interface WithGateway {
  readonly capstan: Capstan;
  readonly platform: Platform;
  readonly figures: Figures;
}

const perSecond = 200;
const warmUpSeconds = 5;
const jobCount = 500;

export async function measureGateway({ capstan, platform, figures }: WithGateway, seconds: number): Promise<void> {
  const specs = Array.from({ length: jobCount }, () => ({ name: "bench-read", handler: "nobody", input: { size: 1 } }));
  const jobIds: string[] = [];
  for (const { job, refusal } of await capstan.jobs.submitMany(specs)) {
    if (refusal !== null) throw refusal;
    jobIds.push(job.id);
  }
  const agent = new Agent({ keepAlive: true });
  const paths = pathsOf(jobIds);
  await readSteadily(platform.httpUrl, agent, paths, warmUpSeconds);
  const [before, cpuBefore] = [residentMib(platform.pid), cpuMs([platform.pid])];
  const { latencies, failed } = await readSteadily(platform.httpUrl, agent, paths, seconds);
  for (const share of [0.5, 0.95, 0.99])
    figures.note(`REST reads at ${perSecond} requests/s, p${share * 100}`, "ms", percentile(latencies, share));
  figures.note("REST reads that were not answered with 200", "", failed);
  figures.note("CPU of the platform for a REST read", "ms", (cpuMs([platform.pid]) - cpuBefore) / latencies.length);
  figures.note("memory of standalone before the reads", "MiB", before);
  figures.note(`memory of standalone after ${seconds} s of reads`, "MiB", residentMib(platform.pid));
  agent.destroy();
  await inLanes(16, jobIds, (jobId) => capstan.jobs.cancelJob({ jobId, message: "" }));
}

/** What a person with a console open asks for, in turn: half of it single things, a fifth whole pages of 50 jobs. */
function pathsOf(jobIds: readonly string[]): (turn: number) => string {
  return (turn) => {
    const jobId = jobIds[turn % jobIds.length];
    switch (turn % 10) {
      case 0:
      case 5:
        return "/jobs?pageSize=50";
      case 1:
        return `/jobs/${jobId}/steps`;
      case 2:
        return `/jobs/${jobId}/events`;
      case 3:
        return "/providers";
      case 4:
        return "/queues/default";
      default:
        return `/jobs/${jobId}`;
    }
  };
}

/** The time from when each request was due, not from when it was sent: a slow answer must not put off those behind it unseen. */
async function readSteadily(
  url: string,
  agent: Agent,
  pathOf: (turn: number) => string,
  seconds: number,
): Promise<{ readonly latencies: readonly number[]; readonly failed: number }> {
  const latencies: number[] = [];
  let failed = 0;
  const start = performance.now();
  const answers: Promise<void>[] = [];
  const total = perSecond * seconds;
  for (let turn = 0; turn < total; turn += 1) {
    const due = start + (turn * 1_000) / perSecond;
    if (due > performance.now() + 1) await sleep(due - performance.now());
    answers.push(
      read(`${url}/api/v1${pathOf(turn)}`, agent).then((status) => {
        latencies.push(performance.now() - due);
        if (status !== 200) failed += 1;
      }),
    );
    if (answers.length === 1_000) await Promise.all(answers.splice(0));
  }
  await Promise.all(answers);
  return { latencies, failed };
}

/** The status of the answer once it is read; 0 if there was none. */
function read(url: string, agent: Agent): Promise<number> {
  return new Promise((resolve) => {
    const asked = request(url, { agent }, (answer) => {
      answer.resume();
      answer.on("error", () => resolve(0));
      answer.on("end", () => resolve(answer.statusCode ?? 0));
    });
    asked.on("error", () => resolve(0));
    asked.end();
  });
}
