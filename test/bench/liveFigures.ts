/**
 * The figures of live clients: a thousand WebSockets that each follow a job of their own, and a thousand events a second that each of a
 * hundred WebSockets gets. Clients, platform, Postgres and NATS share the cores.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Capstan } from "@capstan/client";
import { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { type Figures, percentile } from "./figures.ts";
import { inLanes } from "./lanes.ts";
import { type LiveLoad, startLive } from "./live.ts";
import type { Platform } from "./platform.ts";
import { cpuMs, residentMib } from "./processes.ts";

export interface WithLive {
  readonly capstan: Capstan;
  readonly platform: Platform;
  readonly figures: Figures;
}

const followers = 1_000;
const watchers = 100;
const eventsPerSecond = 1_000;
const seconds = 10;
const pool = "bench-live";

export async function measureLive(bench: WithLive): Promise<void> {
  const load = await startLive(`${bench.platform.httpUrl.replace(/^http/, "ws")}/api/v1/live`);
  try {
    await measureFollowers(bench, load);
    await load.close();
    await measureWatchers(bench, load);
    await load.close();
  } finally {
    load.stop();
  }
}

async function measureFollowers({ capstan, platform, figures }: WithLive, load: LiveLoad): Promise<void> {
  const name = `${followers.toLocaleString("en")} WebSockets, each with its job`;
  const jobIds = await submit(capstan, followers, "live");
  const before = residentMib(platform.pid);
  const start = performance.now();
  await load.open(jobIds.map((jobId) => ({ topic: "job", filter: { jobId }, afterSequence: 0 })));
  figures.note(`${name}: connected and subscribed`, "ms", performance.now() - start);
  figures.note(`${name}: memory of each`, "KiB", ((residentMib(platform.pid) - before) * 1_024) / followers);
  await load.reset();
  const worker = await capstan.worker({ pool, slots: 50, handlers: { live: () => null } });
  await untilSeen(load, followers);
  await worker.stop();
  note(figures, `${name}: commit to socket`, (await load.read()).latencies);
}

async function measureWatchers({ capstan, platform, figures }: WithLive, load: LiveLoad): Promise<void> {
  const name = `${eventsPerSecond.toLocaleString("en")} events/s to ${watchers} WebSockets each`;
  const filter = { types: ["job.submitted"] };
  await load.open(Array.from({ length: watchers }, () => ({ topic: "jobs", filter })));
  await load.reset();
  const [platformCpu, clientCpu] = [cpuMs([platform.pid]), cpuMs([load.pid])];
  const start = performance.now();
  const jobIds: string[] = [];
  const portion = eventsPerSecond / 20;
  for (let tick = 0; tick < seconds * 20; tick += 1) {
    await sleep(Math.max(0, start + tick * 50 - performance.now()));
    jobIds.push(...(await submit(capstan, portion, "nobody")));
  }
  const took = (performance.now() - start) / 1_000;
  await untilSeen(load, jobIds.length * watchers);
  const { latencies, dropped } = await load.read();
  figures.note(`${name}: events`, "events/s", jobIds.length / took);
  note(figures, `${name}: commit to socket`, latencies);
  figures.note(`${name}: left out`, "events", dropped);
  figures.note(
    `${name}: CPU of the platform, submitting included`,
    "ms/s",
    (cpuMs([platform.pid]) - platformCpu) / took,
  );
  figures.note(`${name}: CPU of the clients`, "ms/s", (cpuMs([load.pid]) - clientCpu) / took);
  await inLanes(16, jobIds, (jobId) => capstan.jobs.cancelJob({ jobId, message: "" }, { deadlineMs: 60_000 }));
}

function note(figures: Figures, name: string, latencies: readonly number[]): void {
  for (const share of [0.5, 0.95, 0.99]) figures.note(`${name}, p${share * 100}`, "ms", percentile(latencies, share));
}

async function submit(capstan: Capstan, count: number, handler: string): Promise<readonly string[]> {
  const request = SubmitJobRequest.fromPartial({
    spec: { name: "bench-live", steps: [{ handler, placement: { provider: pool } }] },
  });
  const { results } = await capstan.jobs.submitJobs({ requests: Array.from({ length: count }, () => request) });
  return results.map(({ outcome }) => {
    if (outcome?.$case !== "accepted") throw new Error(`a job was refused: ${JSON.stringify(outcome)}`);
    return outcome.value.jobId;
  });
}

/** Until so many events have come, those that were left out among them. */
async function untilSeen(load: LiveLoad, count: number): Promise<void> {
  const giveUp = Date.now() + 60_000;
  for (;;) {
    const { events, dropped } = await load.read();
    if (events + dropped >= count) return;
    if (Date.now() > giveUp) throw new Error(`${events} of ${count} events have come`);
    await sleep(100);
  }
}
