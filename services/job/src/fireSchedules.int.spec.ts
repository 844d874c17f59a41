/** Runs as the clock brings them, on replicas of one service, with jobs that end as the test reports. */

import { ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { TemplateSpec } from "@capstan/proto/capstan/job/v1/template.ts";
import { connect } from "@nats-io/transport-node";
import { afterAll, expect, test } from "vitest";
import { createTestDatabase, queryOnce } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { factsOf, report, reportOf, startTestPair, startTestService, type TestService } from "./startTestService.ts";

const { database, nats, first, second, stop } = await startTestPair();
afterAll(stop);

const job = JobSpec.fromPartial({ steps: [{ command: ["true"] }] });

async function create(service: TestService, name: string, part: Partial<ScheduleSpec>) {
  const spec = { ...ScheduleSpec.fromPartial({}), job, ...part };
  const { schedule } = await service.schedules.createSchedule({ name, spec, paused: false, validateOnly: false });
  if (schedule === undefined) throw new Error("no schedule in the answer");
  return schedule;
}

const plainRequest = { idempotencyKey: "", requestId: "", validateOnly: false, template: undefined };

const inMs = (ms: number) => new Date(Date.now() + ms);

interface RunRow {
  readonly id: string;
  readonly lateMs: number;
  readonly state: string;
}

async function runsOf(scheduleId: string): Promise<readonly RunRow[]> {
  const rows = await queryOnce(
    database.adminUrl,
    `select id, state, extract(epoch from create_time - scheduled_time)::float8 * 1000 as late
       from job.job where schedule_id = $1 order by id`,
    [scheduleId],
  );
  return rows.map(({ id, state, late }) => ({ id: String(id), state: String(state), lateMs: Number(late) }));
}

function untilRuns(scheduleId: string, count: number): Promise<readonly RunRow[]> {
  return eventually(async () => {
    const runs = await runsOf(scheduleId);
    expect(runs.length).toBeGreaterThanOrEqual(count);
    return runs;
  });
}

test("a run comes at its time, in one job that knows its schedule, and ends a schedule of one time", async () => {
  const time = inMs(1_500);
  const made = await create(first, "once", { time });
  const [run] = await untilRuns(made.id, 1);
  expect(run?.lateMs).toBeGreaterThanOrEqual(0);
  expect(run?.lateMs).toBeLessThan(1_000);
  const { job: submitted } = await second.jobs.getJob({ jobId: run?.id ?? "" });
  expect(submitted).toMatchObject({
    scheduleId: made.id,
    spec: { name: "once", input: { schedule: { id: made.id, name: "once", time: time.toISOString() } } },
  });
  const { schedule } = await second.schedules.getSchedule({ schedule: "once" });
  expect(schedule).toMatchObject({
    state: "SCHEDULE_STATE_ENDED",
    reason: "SCHEDULE_REASON_NO_RUN_LEFT",
    fired: 1,
    lastJobId: run?.id,
    lastTime: time,
  });
  expect(await factsOf(database, made.id)).toEqual(["schedule.created", "schedule.fired", "schedule.ended"]);
});

test("a schedule whose maker is killed at once still comes in time, by another replica that has heard of it", async () => {
  const maker = await startTestService(database, nats.url);
  const listener = await connect({ servers: nats.url });
  const heard = listener.subscribe("capstan.v1.*.job.schedule.created.*");
  const made = await create(maker, "orphan", { time: inMs(2_500) });
  for await (const { subject } of heard) if (subject.endsWith(made.id)) break;
  await maker.end("SIGKILL");
  await listener.close();
  const [run] = await untilRuns(made.id, 1);
  expect(run?.lateMs).toBeLessThan(1_000);
});

test("replicas of which one is killed while it fires submit each run exactly once, and tell of it once", async () => {
  const third = await startTestService(database, nats.url);
  const time = inMs(4_000);
  const names = Array.from({ length: 300 }, (_, n) => `together-${n}`);
  await Promise.all(names.map((name, n) => create([first, second, third][n % 3] ?? first, name, { time })));
  // In the midst of it: some are submitted, others are not.
  await eventually(async () => {
    const [row] = await queryOnce(
      database.adminUrl,
      "select count(*)::int as waiting from pg_stat_activity where query like '%insert into job.job%' and state <> 'idle'",
    );
    return Number(row?.["waiting"]) > 0 || Date.now() > time.getTime() + 50;
  });
  await third.end("SIGKILL");
  await eventually(async () => {
    const [row] = await queryOnce(
      database.adminUrl,
      `select count(*)::int as jobs, count(distinct j.schedule_id)::int as schedules,
              max(extract(epoch from j.create_time - j.scheduled_time))::float8 as late
         from job.job j join job.schedule s on s.id = j.schedule_id where s.name like 'together-%'`,
    );
    expect(row).toMatchObject({ jobs: 300, schedules: 300 });
    return row;
  });
  const facts = await queryOnce(
    database.adminUrl,
    `select count(*)::int as facts, count(distinct aggregate_id)::int as schedules
       from job.event e join job.schedule s on s.id = e.aggregate_id
      where s.name like 'together-%' and noun = 'schedule' and event = 'fired'`,
  );
  expect(facts).toEqual([{ facts: 300, schedules: 300 }]);
});

test("a schedule of every second leaves out no second on two replicas", async () => {
  const made = await create(first, "seconds", { cron: "* * * * * *", overlap: "OVERLAP_POLICY_SKIP" });
  const [run] = await untilRuns(made.id, 1);
  await eventually(async () => {
    const { schedule } = await second.schedules.getSchedule({ schedule: made.id });
    expect(Number(schedule?.skipped)).toBeGreaterThanOrEqual(3);
  });
  await report(first, reportOf(run?.id ?? "", "SUCCEEDED"));
  await untilRuns(made.id, 2);
  const { schedule } = await second.schedules.pauseSchedule({ schedule: made.id, message: "" });
  const begun = Math.floor((made.createTime?.getTime() ?? 0) / 1_000);
  const seconds = Number(schedule?.fired) + Number(schedule?.skipped);
  const facts = await queryOnce(
    database.adminUrl,
    `select sum(case event when 'fired' then 1 else (data ->> 'count')::int end)::int as seconds,
            max(coalesce(data ->> 'lastTime', data ->> 'time')) as last
       from job.event where aggregate_id = $1 and event in ('fired', 'skipped')`,
    [made.id],
  );
  expect(facts[0]).toMatchObject({ seconds });
  expect(new Date(String(facts[0]?.["last"])).getTime() / 1_000 - begun).toBe(seconds);
});

test("one run waits for the one before to end, and comes within a second of that", async () => {
  const interval = { seconds: 1, nanos: 0 };
  const made = await create(first, "buffered", { interval, overlap: "OVERLAP_POLICY_BUFFER_ONE" });
  const [run] = await untilRuns(made.id, 1);
  await eventually(async () => {
    const { schedule } = await first.schedules.getSchedule({ schedule: made.id });
    expect(schedule?.bufferedTime).toBeDefined();
  });
  await report(second, reportOf(run?.id ?? "", "SUCCEEDED"));
  expect((await untilRuns(made.id, 2)).length).toBe(2);
  await first.schedules.deleteSchedule({ schedule: made.id, etag: "" });
});

test("a newer run has those that run cancelled, and comes when they have ended", async () => {
  const interval = { seconds: 1, nanos: 0 };
  const made = await create(first, "replacing", { interval, overlap: "OVERLAP_POLICY_CANCEL_RUNNING" });
  const [run] = await untilRuns(made.id, 1);
  await report(first, reportOf(run?.id ?? "", "STARTED"));
  await eventually(async () => {
    const { job: old } = await first.jobs.getJob({ jobId: run?.id ?? "" });
    expect(old).toMatchObject({ state: "JOB_STATE_CANCELLING", reason: "REASON_REPLACED" });
  });
  expect(await runsOf(made.id)).toHaveLength(1);
  await report(first, reportOf(run?.id ?? "", "CANCELLED"));
  expect((await untilRuns(made.id, 2))[0]?.state).toBe("CANCELLED");
  await first.schedules.deleteSchedule({ schedule: made.id, etag: "" });
});

test("after as many failures as it allows a schedule pauses itself at once; resumed, it counts anew", async () => {
  const interval = { seconds: 3_600, nanos: 0 };
  const made = await create(first, "failing", { interval, maxConsecutiveFailures: 2 });
  const fail = async (outcome: "FAILED" | "SUCCEEDED") => {
    const { job: run } = await first.schedules.triggerSchedule({ schedule: made.id, requestId: "" });
    await report(second, reportOf(run?.id ?? "", outcome));
  };
  await fail("FAILED");
  await fail("SUCCEEDED");
  await fail("FAILED");
  const { schedule: before } = await first.schedules.getSchedule({ schedule: made.id });
  expect(before).toMatchObject({ state: "SCHEDULE_STATE_ACTIVE", consecutiveFailures: 1 });
  await fail("FAILED");
  await eventually(async () => {
    const { schedule } = await first.schedules.getSchedule({ schedule: made.id });
    expect(schedule).toMatchObject({
      state: "SCHEDULE_STATE_PAUSED",
      reason: "SCHEDULE_REASON_CONSECUTIVE_FAILURES",
      message: "2 runs one after another have failed",
      consecutiveFailures: 2,
    });
  });
  const { schedule: resumed } = await first.schedules.resumeSchedule({ schedule: made.id });
  expect(resumed).toMatchObject({ state: "SCHEDULE_STATE_ACTIVE", consecutiveFailures: 0 });
});

test("a run comes from its template, and a template that is taken away pauses the schedule with the reason", async () => {
  const spec = TemplateSpec.fromPartial({ parameters: [{ name: "region" }], job });
  await first.templates.createTemplate({ name: "nightly", spec, validateOnly: false });
  await first.templates.publishTemplate({ name: "nightly", version: 1, etag: "" });
  const template = { name: "nightly", version: 0, parameters: { region: "eu" } };
  const interval = { seconds: 1, nanos: 0 };
  const made = await create(first, "from-template", { interval, job: undefined, template });
  const [run] = await untilRuns(made.id, 1);
  const { job: submitted } = await first.jobs.getJob({ jobId: run?.id ?? "" });
  expect(submitted).toMatchObject({
    template: "nightly",
    templateVersion: 1,
    spec: { name: "nightly", source: "schedule from-template", input: { region: "eu", schedule: { id: made.id } } },
  });
  await first.templates.archiveTemplate({ name: "nightly", version: 1 });
  await report(first, reportOf(run?.id ?? "", "SUCCEEDED"));
  await eventually(async () => {
    const { schedule } = await first.schedules.getSchedule({ schedule: made.id });
    expect(schedule).toMatchObject({ state: "SCHEDULE_STATE_PAUSED", reason: "SCHEDULE_REASON_JOB_REFUSED" });
    expect(schedule?.message).toContain("no version of template nightly is PUBLISHED");
  });
});

test("one schedule whose times cannot be computed any more pauses, and keeps no other from its own", async () => {
  const time = inMs(1_500);
  const broken = await create(first, "broken", { cron: "* * * * *" });
  const whole = await create(first, "whole", { time });
  await queryOnce(
    database.adminUrl,
    `update job.schedule
        set spec = jsonb_set(spec::jsonb, '{timeZone}', '"Mars/Phobos"')::json, next_time = $2, next_fire_time = $2
      where id = $1`,
    [broken.id, time],
  );
  await untilRuns(whole.id, 1);
  const { schedule } = await first.schedules.getSchedule({ schedule: "broken" });
  expect(schedule).toMatchObject({ state: "SCHEDULE_STATE_PAUSED", reason: "SCHEDULE_REASON_TIMES_FAILED" });
  expect(schedule?.message).toContain("Mars/Phobos");
});

test("a run that its full queue has no room for is left out, and says so; others come", async () => {
  const limits = [{ tenant: "default", queue: "full", maxDepth: 1, drainPerSecond: 0 }];
  await Promise.all([first, second].map(({ internal }) => internal.setQueueLimits({ limits })));
  await first.jobs.submitJob({ spec: { ...job, name: "fills", queue: "full" }, ...plainRequest });
  const time = inMs(1_500);
  const kept = await create(first, "no-room", { time, job: { ...job, queue: "full" } });
  const other = await create(first, "room", { time });
  await untilRuns(other.id, 1);
  await eventually(async () => {
    const { schedule } = await first.schedules.getSchedule({ schedule: kept.id });
    expect(schedule).toMatchObject({ fired: 0, skipped: 1, state: "SCHEDULE_STATE_ENDED" });
  });
  const facts = await queryOnce(
    database.adminUrl,
    "select data ->> 'message' as message from job.event where aggregate_id = $1 and event = 'skipped'",
    [kept.id],
  );
  expect(facts).toEqual([{ message: "queue full holds 1 jobs that have not begun; its limit is 1" }]);
});

test("a run that a backfill has submitted before its jitter was over is left out, and keeps no other from its time", async () => {
  const time = new Date(Math.floor(Date.now() / 1_000) * 1_000);
  const spec = { interval: { seconds: 3_600, nanos: 0 }, startTime: time, overlap: "OVERLAP_POLICY_ALLOW" } as const;
  const made = await create(first, "filled", spec);
  const fireTime = inMs(1_500);
  const jittered = "update job.schedule set next_time = $2, next_fire_time = $3 where id = $1";
  await queryOnce(database.adminUrl, jittered, [made.id, time, fireTime]);
  const range = { startTime: time, endTime: new Date(time.getTime() + 1), validateOnly: false };
  const { jobIds } = await first.schedules.backfillSchedule({ schedule: made.id, ...range });
  const other = await create(first, "beside", { time: fireTime });
  await untilRuns(other.id, 1);
  const { schedule } = await first.schedules.getSchedule({ schedule: made.id });
  expect(schedule).toMatchObject({ fired: 1, skipped: 1, nextTime: new Date(time.getTime() + 3_600_000) });
  expect((await runsOf(made.id)).map(({ id }) => id)).toEqual(jobIds);
});

test("runs whose time passed while nobody was there are made up for as the schedule says", async () => {
  const alone = await createTestDatabase("job");
  const before = await startTestService(alone, nats.url);
  const spec = { ...ScheduleSpec.fromPartial({ interval: { seconds: 60, nanos: 0 } }), job };
  await before.schedules.createSchedule({ name: "away", spec, paused: false, validateOnly: false });
  await before.end("SIGTERM");
  const back = "create_time = create_time - interval '10 min 30 s', next_time = next_time - interval '10 min 30 s'";
  await queryOnce(
    alone.adminUrl,
    `update job.schedule set ${back}, next_fire_time = next_fire_time - interval '10 min 30 s'`,
  );
  const after = await startTestService(alone, nats.url);
  const schedule = await eventually(async () => {
    const { schedule } = await after.schedules.getSchedule({ schedule: "away" });
    expect(Number(schedule?.missed)).toBeGreaterThan(0);
    return schedule;
  });
  // The last of those that were missed came; the one of the last minute found it running.
  expect(schedule).toMatchObject({ fired: 1, missed: 8, skipped: 1 });
  await after.end("SIGTERM");
  await alone.drop();
});
