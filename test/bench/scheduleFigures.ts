/**
 * The figures of schedules: what many of them cost while none is due, and how late the last of many that are due together is
 * submitted. Their jobs are for a handler that no worker has, so that what they would do does not count.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Capstan } from "@capstan/client";
import { ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { Client } from "pg";
import { type Figures, percentile } from "./figures.ts";
import { inLanes } from "./lanes.ts";
import type { Servers } from "./servers.ts";

export interface WithSchedules {
  readonly capstan: Capstan;
  readonly servers: Servers;
  readonly figures: Figures;
}

const waiting = 10_000;
const together = 1_000;
const job = JobSpec.fromPartial({ name: "bench-scheduled", steps: [{ handler: "nobody" }] });

/** `noteIdle` notes what the platform does while nothing is asked of it, once without and once with the schedules. */
export async function measureSchedules(bench: WithSchedules, noteIdle: (name: string) => Promise<void>): Promise<void> {
  await noteIdle("idle, before the schedules");
  const daily = (n: number) => ({ cron: `${n % 60} ${(new Date().getUTCHours() + 6 + (n % 12)) % 24} * * *` });
  const names = await create(bench, "waiting", waiting, daily);
  await noteIdle(`idle, with ${waiting.toLocaleString("en")} schedules`);
  await remove(bench, names);
  await measureTogether(bench);
}

async function measureTogether(bench: WithSchedules): Promise<void> {
  const { servers, figures, capstan } = bench;
  const time = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + 8_000);
  const names = await create(bench, "together", together, () => ({ time }));
  if (Date.now() > time.getTime() - 1_000) throw new Error("making the schedules took too long");
  const client = new Client({ connectionString: servers.postgres.url });
  await client.connect();
  try {
    const { ids, lateMs } = await untilSubmitted(client, time);
    for (const share of [0.5, 1]) {
      const which = share === 1 ? "the last" : "the median";
      figures.note(
        `${together.toLocaleString("en")} schedules due at once: ${which} job is there after`,
        "ms",
        percentile(lateMs, share),
      );
    }
    await inLanes(64, ids, (jobId) => capstan.jobs.cancelJob({ jobId, message: "" }));
  } finally {
    await client.end();
  }
  await remove(bench, names);
}

async function untilSubmitted(client: Client, time: Date) {
  const giveUp = time.getTime() + 60_000;
  for (;;) {
    const { rows } = await client.query<{ id: string; late: number }>(
      `select id, extract(epoch from create_time - scheduled_time)::float8 * 1000 as late
         from job.job where name = 'bench-scheduled' and scheduled_time = $1`,
      [time],
    );
    if (rows.length === together) return { ids: rows.map(({ id }) => id), lateMs: rows.map(({ late }) => late) };
    if (Date.now() > giveUp) throw new Error(`${rows.length} of ${together} schedules have come`);
    await sleep(200);
  }
}

async function create(
  { capstan }: WithSchedules,
  prefix: string,
  count: number,
  part: (n: number) => Partial<ScheduleSpec>,
): Promise<readonly string[]> {
  const names = Array.from({ length: count }, (_, n) => `${prefix}-${n}`);
  const spec = (n: number) => ({ ...ScheduleSpec.fromPartial({}), job, ...part(n) });
  await inLanes(64, [...names.entries()], ([n, name]) =>
    capstan.schedules.createSchedule({ name, spec: spec(n), paused: false, validateOnly: false }),
  );
  return names;
}

async function remove({ capstan }: WithSchedules, names: readonly string[]): Promise<void> {
  await inLanes(64, names, (schedule) => capstan.schedules.deleteSchedule({ schedule, etag: "" }));
}
