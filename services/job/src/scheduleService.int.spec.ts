import { ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import { JobSpec, type StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { TemplateSpec } from "@capstan/proto/capstan/job/v1/template.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { refusalOf } from "../../../test/support/jobs.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { factsOf, startTestService, type TestService } from "./startTestService.ts";

let database: TestDatabase;
let nats: TestNats;
let service: TestService;

beforeAll(async () => {
  [database, nats] = await Promise.all([createTestDatabase("job"), startTestNats()]);
  service = await startTestService(database, nats.url);
});

afterAll(async () => {
  await service.end("SIGTERM");
  await Promise.all([database.drop(), nats.release()]);
});

const job = (step: Partial<StepSpec> = { command: ["true"] }) => JobSpec.fromPartial({ steps: [step] });
const specOf = (part: Partial<ScheduleSpec>): ScheduleSpec => ({
  ...ScheduleSpec.fromPartial({}),
  job: job(),
  ...part,
});

async function create(name: string, part: Partial<ScheduleSpec> = { cron: "0 3 * * *" }, paused = false) {
  const request = { name, spec: specOf(part), paused, validateOnly: false };
  const { schedule } = await service.schedules.createSchedule(request);
  if (schedule === undefined) throw new Error("no schedule in the answer");
  return schedule;
}

test("a schedule is made, changed, paused, resumed and forgotten, and tells so", async () => {
  const { schedules } = service;
  const made = await create("life", { cron: "0 3 * * *", timeZone: "Europe/Madrid" });
  expect(made).toMatchObject({
    state: "SCHEDULE_STATE_ACTIVE",
    spec: { overlap: "OVERLAP_POLICY_SKIP", missed: "MISSED_RUN_POLICY_LAST", timeZone: "Europe/Madrid" },
  });
  expect(made.nextTime?.getTime()).toBeGreaterThan(Date.now());
  const spec = specOf({ interval: { seconds: 3_600, nanos: 0 } });
  const { schedule: changed } = await schedules.updateSchedule({ schedule: "life", spec, etag: made.etag });
  expect(changed?.nextTime?.getTime()).toBe((made.createTime?.getTime() ?? 0) + 3_600_000);
  const stale = await refusalOf(schedules.updateSchedule({ schedule: made.id, spec, etag: made.etag }));
  expect(stale).toMatchObject({ code: "ABORTED", reason: "SCHEDULE_CHANGED" });

  const pause = () => schedules.pauseSchedule({ schedule: "life", message: "holidays" });
  expect((await pause()).schedule).toMatchObject({
    state: "SCHEDULE_STATE_PAUSED",
    reason: "SCHEDULE_REASON_PAUSED_BY_USER",
    message: "holidays",
  });
  expect((await pause()).schedule?.nextTime).toBeUndefined();
  expect((await schedules.resumeSchedule({ schedule: "life" })).schedule?.state).toBe("SCHEDULE_STATE_ACTIVE");
  await schedules.deleteSchedule({ schedule: "life", etag: "" });
  expect(await refusalOf(schedules.getSchedule({ schedule: made.id }))).toMatchObject({ reason: "SCHEDULE_NOT_FOUND" });
  expect(await factsOf(database, made.id)).toEqual([
    "schedule.created",
    "schedule.updated",
    "schedule.paused",
    "schedule.resumed",
    "schedule.deleted*",
  ]);
});

test("the same schedule made again is answered as it stands, another of its name is refused", async () => {
  const made = await create("same");
  const request = { name: "same", spec: specOf({ cron: "0 3 * * *" }), paused: false, validateOnly: false };
  expect(await service.schedules.createSchedule(request)).toMatchObject({ existed: true, schedule: { id: made.id } });
  const refusal = await refusalOf(
    service.schedules.createSchedule({ ...request, spec: specOf({ cron: "0 4 * * *" }) }),
  );
  expect(refusal).toMatchObject({ code: "ALREADY_EXISTS", reason: "SCHEDULE_EXISTS" });
});

const inTheYear = (year: number) => new Date(`${year}-06-01T00:00:00Z`);
const second = { seconds: 1, nanos: 0 };

test.each<[string, Partial<ScheduleSpec>, string, string]>([
  ["30 February", { cron: "0 0 30 2 *" }, "spec.cron", "never comes"],
  ["four fields", { cron: "0 0 * *" }, "spec.cron", "has 4 fields"],
  ["seven fields", { cron: "0 0 0 * * * 2030" }, "spec.cron", "has 7 fields"],
  ["minute 99", { cron: "99 * * * *" }, "spec.cron", "Invalid value for minute"],
  ["a word", { cron: "@daily" }, "spec.cron", "has 1 fields"],
  ["a control character", { cron: "0 0 * * *\n" }, "spec.cron", "control characters"],
  [
    "a time zone that does not exist",
    { cron: "0 0 * * *", timeZone: "Mars/Phobos" },
    "spec.time_zone",
    "is not a name",
  ],
  ["a time zone without a pattern", { interval: second, timeZone: "UTC" }, "spec.time_zone", "only for cron"],
  ["nothing that says when", {}, "spec.cron", "exactly one of"],
  ["two things that say when", { cron: "0 0 * * *", interval: second }, "spec.cron", "exactly one of"],
  ["half a second", { interval: { seconds: 0, nanos: 500_000_000 } }, "spec.interval", "is 0.5 s"],
  ["no interval", { interval: { seconds: 0, nanos: 0 } }, "spec.interval", "is 0 s"],
  ["a time that has passed", { time: inTheYear(2020) }, "spec.time", "never comes"],
  [
    "an end before all runs",
    { cron: "0 0 1 1 *", endTime: new Date(Date.now() + 1) },
    "spec.end_time",
    "leaves no run",
  ],
  [
    "an end before its start",
    { cron: "0 0 * * *", startTime: inTheYear(2040), endTime: inTheYear(2039) },
    "spec.end_time",
    "later",
  ],
  [
    "every second with overlap allowed",
    { cron: "* * * * * *", overlap: "OVERLAP_POLICY_ALLOW" },
    "spec.overlap",
    "at least 10 s",
  ],
  ["jitter longer than its interval", { interval: second, jitter: { seconds: 2, nanos: 0 } }, "spec.jitter", "is 2 s"],
  [
    "a window of too many runs",
    { cron: "* * * * * *", missed: "MISSED_RUN_POLICY_ALL" },
    "spec.missed_window",
    "more than 1000",
  ],
  [
    "a window without use",
    { interval: second, missedWindow: { seconds: 60, nanos: 0 } },
    "spec.missed_window",
    "needs missed ALL",
  ],
  [
    "a hundred and one failures",
    { interval: second, maxConsecutiveFailures: 101 },
    "spec.max_consecutive_failures",
    "is 101",
  ],
  ["no job", { interval: second, job: undefined }, "spec.job", "is required"],
  ["a bad job", { interval: second, job: job({ command: [] }) }, "spec.job.steps[0].command", "is empty"],
  [
    "a start of its job",
    { interval: second, job: { ...job(), notBefore: inTheYear(2027) } },
    "spec.job.not_before",
    "the schedule says when",
  ],
  [
    "input that is no object",
    { interval: second, job: { ...job(), input: [1] } },
    "spec.job.input",
    "must be an object",
  ],
  [
    "input in its own place",
    { interval: second, job: { ...job(), input: { schedule: 1 } } },
    "spec.job.input.schedule",
    "what the schedule adds",
  ],
])("%s is refused with the field and why", async (name, part, field, why) => {
  const request = { name: "bad", spec: specOf(part), paused: false, validateOnly: false };
  const { fields } = await refusalOf(service.schedules.createSchedule(request));
  expect(
    fields.map((one) => one.field),
    name,
  ).toContain(field);
  expect(fields.find((one) => one.field === field)?.description).toContain(why);
});

test("every bad field of a schedule and of its job is told at once", async () => {
  const spec = specOf({
    cron: "61 * * * *",
    timeZone: "Nowhere",
    maxConsecutiveFailures: -1,
    job: job({ command: [] }),
  });
  const { fields } = await refusalOf(
    service.schedules.createSchedule({ name: "Bad Name", spec, paused: false, validateOnly: false }),
  );
  expect(fields.map(({ field }) => field).sort()).toEqual(
    [
      "name",
      "spec.cron",
      "spec.job.name",
      "spec.job.steps[0].command",
      "spec.max_consecutive_failures",
      "spec.time_zone",
    ].filter((field) => field !== "spec.job.name"),
  );
});

test("the parameters of its template are checked when it is made", async () => {
  const template = TemplateSpec.fromPartial({ parameters: [{ name: "region", required: true }], job: job() });
  await service.templates.createTemplate({ name: "checked", spec: template, validateOnly: false });
  const use = { name: "checked", version: 0, parameters: {} };
  const make = () =>
    service.schedules.createSchedule({
      name: "from-template",
      spec: specOf({ interval: second, job: undefined, template: use }),
      paused: true,
      validateOnly: false,
    });
  expect(await refusalOf(make())).toMatchObject({ reason: "TEMPLATE_NOT_PUBLISHED" });
  await service.templates.publishTemplate({ name: "checked", version: 0, etag: "" });
  expect((await refusalOf(make())).fields).toEqual([
    { field: "spec.template.parameters.region", description: "is required" },
  ]);
  Object.assign(use.parameters, { region: "eu" });
  expect((await make()).schedule?.state).toBe("SCHEDULE_STATE_PAUSED");
});

test("the preview tells what a change of the clock does, of a schedule that is there and of one that is not", async () => {
  const cron = { cron: "30 2 * * *", timeZone: "Europe/Madrid" };
  const after = new Date("2027-03-27T12:00:00Z");
  const wanted = [
    { localTime: "2027-03-28T03:00:00+02:00", clockChange: "CLOCK_CHANGE_GAP" },
    { localTime: "2027-03-29T02:30:00+02:00", clockChange: "CLOCK_CHANGE_UNSPECIFIED", message: "" },
  ];
  const spec = { ...specOf(cron), job: undefined };
  const fresh = await service.schedules.previewSchedule({ schedule: "", spec, count: 2, after });
  expect(fresh.runs).toMatchObject(wanted);
  expect(fresh.runs[0]?.message).toContain("the clock is put forward");
  await create("preview", cron);
  const there = await service.schedules.previewSchedule({ schedule: "preview", spec: undefined, count: 2, after });
  expect(there.runs).toMatchObject(wanted);
  const autumn = new Date("2027-10-30T12:00:00Z");
  const { runs } = await service.schedules.previewSchedule({ schedule: "", spec, count: 1, after: autumn });
  expect(runs).toMatchObject([{ localTime: "2027-10-31T02:30:00+02:00", clockChange: "CLOCK_CHANGE_REPEATED" }]);
  const bad = await refusalOf(service.schedules.previewSchedule({ schedule: "", spec, count: 101, after: undefined }));
  expect(bad.fields).toEqual([{ field: "count", description: "is 101; it must be from 0 to 100" }]);
});

test("somebody may ask for a run at any time, and asking again with the same id is the same run", async () => {
  await create("by-hand", { cron: "0 3 * * *" }, true);
  const ask = (requestId: string) => service.schedules.triggerSchedule({ schedule: "by-hand", requestId });
  const { job: first, schedule } = await ask("once");
  expect(schedule).toMatchObject({ fired: 1, lastJobId: first?.id, state: "SCHEDULE_STATE_PAUSED" });
  expect(first).toMatchObject({
    scheduleId: schedule?.id,
    spec: { name: "by-hand", source: "schedule by-hand", input: { schedule: { id: schedule?.id, name: "by-hand" } } },
  });
  expect((await ask("once")).job?.id).toBe(first?.id);
  const { job: second } = await ask("");
  expect(second?.id).not.toBe(first?.id);
  const filter = `schedule_id = ${schedule?.id}`;
  const { jobs } = await service.jobs.listJobs({ filter, orderBy: "create_time", pageSize: 0, pageToken: "" });
  expect(jobs.map(({ id }) => id)).toEqual([first?.id, second?.id]);
});

test("a backfill submits each run of its time once, counts before it begins, and is bounded", async () => {
  const made = await create("backfill", { cron: "0 * * * *" }, true);
  const fill = (from: string, to: string, validateOnly = false) =>
    service.schedules.backfillSchedule({
      schedule: "backfill",
      startTime: new Date(from),
      endTime: new Date(to),
      validateOnly,
    });
  expect(await fill("2026-01-01T00:00:00Z", "2026-01-01T06:00:00Z", true)).toEqual({
    count: 6,
    existed: 0,
    jobIds: [],
  });
  const { jobIds, count } = await fill("2026-01-01T00:00:00Z", "2026-01-01T03:00:00Z");
  expect([count, new Set(jobIds).size]).toEqual([3, 3]);
  const wider = await fill("2026-01-01T00:00:00Z", "2026-01-01T06:00:00Z");
  expect(wider).toMatchObject({ count: 6, existed: 3 });
  expect(wider.jobIds.slice(0, 3)).toEqual(jobIds);
  const { job: first } = await service.jobs.getJob({ jobId: jobIds[0] ?? "" });
  expect(first?.spec?.input).toMatchObject({ schedule: { time: "2026-01-01T00:00:00.000Z" } });
  const refusal = await refusalOf(fill("2025-01-01T00:00:00Z", "2025-02-11T17:00:00Z"));
  expect(refusal.fields[0]?.description).toBe("that time holds 1001 runs; the limit is 1000");
  const future = await refusalOf(fill("2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z"));
  expect(future.fields[0]).toEqual({ field: "end_time", description: "is in the future" });
  expect(await factsOf(database, made.id)).toEqual(["schedule.created", "schedule.backfilled", "schedule.backfilled"]);
});

test("schedules are listed by name, filtered, in pages", async () => {
  for (const name of ["list-a", "list-b", "list-c"]) await create(name, { cron: "0 3 * * *" }, name === "list-b");
  const range = 'name >= "list-" AND name < "list-z"';
  const list = (filter: string, pageToken = "") => service.schedules.listSchedules({ filter, pageSize: 2, pageToken });
  const first = await list(range);
  const rest = await list(range, first.nextPageToken);
  expect([...first.schedules, ...rest.schedules].map(({ name }) => name)).toEqual(["list-a", "list-b", "list-c"]);
  const paused = await list(`${range} AND state = PAUSED`);
  expect(paused.schedules.map(({ name }) => name)).toEqual(["list-b"]);
});

test("what the loop asks reads rows by index only", async () => {
  await queryOnce(
    database.adminUrl,
    `insert into job.schedule (id, tenant, name, spec, state, next_time, next_fire_time, sequence, create_time)
     select gen_random_uuid(), 'other', 'plan-' || n, '{}', 'ACTIVE', now() + interval '1 year', now() + interval '1 year', 1, now()
       from generate_series(1, 2000) n`,
  );
  const plans = await Promise.all(
    [
      "select next_fire_time from job.schedule where next_fire_time is not null order by next_fire_time limit 1",
      `select id from job.schedule s where buffered_time is not null
          and not exists (select from job.job j where j.schedule_id = s.id and j.end_time is null)`,
      `select j.id from unnest(array[gen_random_uuid()]) as s (id) cross join lateral (
         select id from job.job j where j.schedule_id = s.id and j.end_time is null) j`,
    ].map(async (text) => {
      // As services set it: an index is taken wherever one serves.
      const url = `${database.adminUrl}?options=-c%20enable_seqscan%3Doff`;
      return JSON.stringify(await queryOnce(url, `explain ${text}`));
    }),
  );
  expect(plans.join()).toContain("Index");
  for (const plan of plans) expect(plan).not.toContain("Seq Scan on job");
});
