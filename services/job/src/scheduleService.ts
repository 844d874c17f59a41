/** The RPCs of schedules. Each reads: check the request, lock, decide, save, answer. */
import { DomainError, type FieldViolation, invalid, notFound } from "@capstan/errors";
import {
  type Call,
  decodePageToken,
  encodePageToken,
  type FilterFields,
  fitPage,
  pageSize,
  parseFilter,
  unary,
} from "@capstan/grpc";
import { appendFacts, type Db, inTransaction, isUuid, type Pool, uuidv7 } from "@capstan/postgres";
import type { Job as JobMessage } from "@capstan/proto/capstan/job/v1/job.ts";
import { ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import type { BackfillScheduleRequest, ScheduleServiceServer } from "@capstan/proto/capstan/job/v1/schedule_service.ts";
import { checkLine, durationMs } from "./fieldChecks.ts";
import { saveMoves } from "./fireSchedules.ts";
import { toMessage } from "./jobMessage.ts";
import { getJobs } from "./jobQueries.ts";
import type { Plans } from "./plans.ts";
import type { QueueLimits } from "./queueLimits.ts";
import {
  backfillSchedule,
  createSchedule,
  deleteSchedule,
  pauseSchedule,
  resumeSchedule,
  type Schedule,
  type ScheduleMove,
  scheduleReasons,
  scheduleStates,
  triggerSchedule,
  updateSchedule,
} from "./schedule.ts";
import { checkJobOf, checkRuns } from "./scheduleJobs.ts";
import { isSameSchedule, plannedRun, scheduleFact, scheduleMessage } from "./scheduleProto.ts";
import { checkSchedule, completeSchedule, maxRuns } from "./scheduleSpec.ts";
import {
  deleteScheduleRow,
  findRuns,
  findSchedule,
  insertSchedule,
  listSchedules,
  lockSchedule,
  readActivities,
  readClock,
  type ScheduleReference,
} from "./scheduleStore.ts";
import { fireTimeOf, nextRuns, planOf, runsBetween } from "./scheduleTimes.ts";
import { type Accepted, type CheckedJob, type NoteBorn, writeWithin } from "./submitJobs.ts";
import { checkName, isName } from "./templateSpec.ts";

interface ScheduleServiceOptions {
  readonly pool: Pool;
  /** Called after COMMIT when a schedule has another next run. */
  readonly onChange: (next: Date | null) => void;
  readonly plans: Plans;
  readonly limits: QueueLimits;
  readonly noteBorn: NoteBorn;
}

const filterFields: FilterFields = {
  name: { type: "string" },
  state: { type: "enum", values: scheduleStates },
  reason: { type: "enum", values: scheduleReasons },
  template: { type: "string" },
  next_time: { type: "time" },
};

export function createScheduleService(options: ScheduleServiceOptions): ScheduleServiceServer {
  const { pool, plans, limits, noteBorn, onChange } = options;

  async function find(named: string, { tenant }: Call): Promise<Schedule> {
    return (await findSchedule(pool, tenant, referenceTo(named))) ?? missing(named);
  }

  /** One schedule, locked, moved by what is decided about it. */
  async function change(
    named: string,
    { tenant, traceparent }: Call,
    decide: (schedule: Schedule, now: Date, db: Db) => ScheduleMove | Promise<ScheduleMove>,
  ): Promise<Schedule> {
    const reference = referenceTo(named);
    const after = await inTransaction(pool, async (db) => {
      const { schedules, now } = await lockSchedule(db, tenant, reference);
      const [before = missing(named)] = schedules;
      const move = await decide(before, now, db);
      await saveMoves(db, [{ before, move }], traceparent);
      return move.after;
    });
    onChange(after.nextFireTime);
    return after;
  }

  async function withFailures(schedule: Schedule) {
    const activities = await readActivities(pool, [schedule]);
    return scheduleMessage(schedule, activities.get(schedule.id)?.failures ?? 0);
  }

  async function requireGood(
    named: Pick<Schedule, "id" | "tenant" | "name">,
    spec: ScheduleSpec | undefined,
    createTime: Date,
    earlier: readonly FieldViolation[] = [],
  ): Promise<ScheduleSpec> {
    const now = new Date();
    const violations = [...earlier, ...checkSchedule(spec, createTime, now)];
    if (spec !== undefined) {
      const ofJob = await checkJobOf(pool, { ...named, spec }, now).catch((error: unknown) => {
        // What is wrong with the template counts when nothing else is.
        if (error instanceof DomainError && violations.length > 0) return [];
        throw error;
      });
      violations.push(...ofJob.filter(({ field }) => violations.every((other) => other.field !== field)));
    }
    if (spec === undefined || violations.length > 0) throw invalid(violations);
    return completeSchedule(spec);
  }

  return {
    createSchedule: unary(async ({ name, spec: given, paused, validateOnly }, call) => {
      const violations: FieldViolation[] = [];
      checkName(name, (field, description) => violations.push({ field, description }));
      const { tenant, traceparent } = call;
      const id = uuidv7();
      const spec = await requireGood({ id, tenant, name }, given, new Date(), violations);
      const answer = await inTransaction(pool, async (db) => {
        const { after, events } = createSchedule({ id, tenant, name, spec }, await readClock(db), paused);
        if (validateOnly) return { schedule: { ...scheduleMessage(after), id: "" }, existed: false };
        if (!(await insertSchedule(db, after))) {
          const there = await findSchedule(db, tenant, { name });
          if (there === null || !isSameSchedule(there.spec, spec)) throw alreadyExists(name);
          return { schedule: scheduleMessage(there), existed: true };
        }
        await appendFacts(
          db,
          events.map((event) => scheduleFact(event, traceparent)),
        );
        return { schedule: scheduleMessage(after), existed: false };
      });
      onChange(answer.schedule.nextFireTime ?? null);
      return answer;
    }),

    getSchedule: unary(async ({ schedule }, call) => ({ schedule: await withFailures(await find(schedule, call)) })),

    listSchedules: unary(async ({ pageSize: requested, pageToken, filter }, { tenant }) => {
      const query = { list: "schedules", tenant, filter };
      const limit = pageSize(requested);
      const [afterName = ""] = decodePageToken(pageToken, query) ?? [];
      const parsed = filter === "" ? null : parseFilter(filter, filterFields);
      const found = await listSchedules(pool, { tenant, afterName, filter: parsed, limit: limit + 1 });
      const page = fitPage(found, limit, ({ spec }) => ScheduleSpec.encode(spec).finish().length);
      const last = found.length > page.length ? page.at(-1) : undefined;
      return {
        schedules: page.map((schedule) => scheduleMessage(schedule)),
        nextPageToken: last === undefined ? "" : encodePageToken(query, [last.name]),
      };
    }),

    updateSchedule: unary(async ({ schedule: named, spec: given, etag }, call) => {
      const there = await find(named, call);
      const spec = await requireGood(there, given, there.createTime);
      const after = await change(named, call, (schedule, now) => updateSchedule(schedule, spec, etag, now));
      return { schedule: await withFailures(after) };
    }),

    deleteSchedule: unary(async ({ schedule: named, etag }, call) => {
      await change(named, call, async (schedule, _, db) => {
        const move = deleteSchedule(schedule, etag);
        await appendFacts(
          db,
          move.events.map((event) => scheduleFact(event, call.traceparent)),
        );
        await deleteScheduleRow(db, schedule);
        return { after: { ...move.after, nextFireTime: null }, events: [] };
      });
      return {};
    }),

    pauseSchedule: unary(async ({ schedule: named, message }, call) => {
      const violations: FieldViolation[] = [];
      checkLine(message, "message", 256, (field, description) => violations.push({ field, description }));
      if (violations.length > 0) throw invalid(violations);
      const cause = { reason: "PAUSED_BY_USER", message } as const;
      const after = await change(named, call, (schedule, now) => pauseSchedule(schedule, cause, now));
      return { schedule: await withFailures(after) };
    }),

    resumeSchedule: unary(async ({ schedule: named }, call) => {
      const after = await change(named, call, resumeSchedule);
      return { schedule: await withFailures(after) };
    }),

    triggerSchedule: unary(async ({ schedule: named, requestId }, call) => {
      const { traceparent } = call;
      let written: Written = nothing;
      const after = await change(named, call, async (schedule, now, db) => {
        const run = { schedule, time: now, triggered: { requestId, traceparent } };
        written = await write(db, requireJobs(await checkRuns(db, [run], now)));
        const [outcome] = written.outcomes;
        if (outcome === undefined || outcome.existed) return { after: schedule, events: [] };
        return triggerSchedule(schedule, outcome.jobId, now);
      });
      noteBorn(written.jobs, written.outcomes);
      return { job: await readJob(written.outcomes[0]?.jobId ?? "", call), schedule: scheduleMessage(after) };
    }),

    previewSchedule: unary(async ({ schedule: named, spec: given, count, after: from }, call) => {
      const violations: FieldViolation[] = [];
      if (count < 0 || count > 100)
        violations.push({ field: "count", description: `is ${count}; it must be from 0 to 100` });
      if (named !== "" && given !== undefined) {
        violations.push({ field: "spec", description: "cannot be given together with schedule" });
      }
      if (from !== undefined && Number.isNaN(from.getTime()))
        violations.push({ field: "after", description: "is not a time" });
      const now = new Date();
      const isNew = named === "" && given !== undefined;
      // Only its times matter: a job may be missing, and times that have passed may be asked for.
      if (isNew)
        violations.push(
          ...checkSchedule({ ...given, job: undefined, template: given.template ?? aTemplate }, now, from ?? now),
        );
      if (violations.length > 0) throw invalid(violations);
      const { id, spec, createTime } = isNew ? { id: "", spec: given, createTime: now } : await find(named, call);
      const jitterMs = id === "" ? 0 : durationMs(spec.jitter);
      const runs = nextRuns(planOf(spec, createTime), from ?? now, count || 5);
      return {
        runs: runs.map((run) => plannedRun(run, fireTimeOf(id, run.time, jitterMs), spec.timeZone || "UTC")),
      };
    }),

    backfillSchedule: unary(async (request, call) => {
      const { startTime, endTime } = checkRange(request);
      if (request.validateOnly) {
        const schedule = await find(request.schedule, call);
        const times = timesOf(schedule, startTime, endTime);
        const there = await findRuns(pool, schedule.id, times);
        return { count: times.length, existed: there.size, jobIds: [] };
      }
      let written: Written = nothing;
      let answer = { count: 0, existed: 0, jobIds: [] as string[] };
      await change(request.schedule, call, async (schedule, now, db) => {
        const times = timesOf(schedule, startTime, endTime);
        const there = await findRuns(db, schedule.id, times);
        const left = times.filter((time) => !there.has(time.getTime()));
        const runs = left.map((time) => ({ schedule, time }));
        written = await write(db, requireJobs(await checkRuns(db, runs, now)));
        const made = new Map(written.jobs.map(({ job, scheduledTime }) => [scheduledTime?.getTime() ?? 0, job.id]));
        const jobIds = times.flatMap((time) => there.get(time.getTime()) ?? made.get(time.getTime()) ?? []);
        answer = { count: times.length, existed: there.size, jobIds };
        return backfillSchedule(schedule, left);
      });
      noteBorn(written.jobs, written.outcomes);
      return answer;
    }),
  };

  async function write(db: Db, jobs: readonly CheckedJob[]): Promise<Written> {
    if (jobs.length === 0) return nothing;
    const outcomes = await writeWithin(db, jobs, plans, limits);
    return {
      jobs,
      outcomes: outcomes.map((outcome) => {
        if (outcome instanceof DomainError) throw outcome;
        return outcome;
      }),
    };
  }

  async function readJob(jobId: string, { tenant }: Call): Promise<JobMessage | undefined> {
    const job = (await getJobs(pool, tenant, [jobId])).get(jobId);
    return job === undefined ? undefined : toMessage(job);
  }
}

/** Jobs, and what became of each. */
interface Written {
  readonly jobs: readonly CheckedJob[];
  readonly outcomes: readonly Accepted[];
}

const nothing: Written = { jobs: [], outcomes: [] };

const aTemplate = { name: "any", version: 0, parameters: undefined };

function requireJobs(checked: readonly (CheckedJob | DomainError)[]): readonly CheckedJob[] {
  return checked.map((job) => {
    if (job instanceof DomainError) throw job;
    return job;
  });
}

function checkRange({ startTime, endTime }: BackfillScheduleRequest) {
  const violations: FieldViolation[] = [];
  const refuse = (field: string, description: string) => violations.push({ field, description });
  const now = new Date();
  for (const [field, time] of [["start_time", startTime] as const, ["end_time", endTime] as const]) {
    if (time === undefined) refuse(field, "is required");
    else if (Number.isNaN(time.getTime())) refuse(field, "is not a time");
    else if (time > now) refuse(field, "is in the future");
  }
  if (startTime !== undefined && endTime !== undefined && startTime >= endTime) {
    refuse("end_time", "must be later than start_time");
  }
  if (startTime === undefined || endTime === undefined || violations.length > 0) throw invalid(violations);
  return { startTime, endTime };
}

/** How many are counted at most, for the message. */
const maxCounted = 10_000;

function timesOf({ spec, createTime }: Schedule, startTime: Date, endTime: Date): readonly Date[] {
  // Its own start is for runs to come; a backfill asks for those that would have come before.
  const plan = planOf(spec.interval === undefined ? { ...spec, startTime: undefined } : spec, createTime);
  const times = runsBetween(plan, startTime, endTime, maxCounted + 1);
  if (times.length <= maxRuns) return times;
  const count = times.length > maxCounted ? `more than ${maxCounted}` : times.length;
  throw invalid([{ field: "end_time", description: `that time holds ${count} runs; the limit is ${maxRuns}` }]);
}

/** By id or by name; what can be neither is not looked for, so that no bad text reaches the database. */
function referenceTo(named: string): ScheduleReference {
  if (named === "") throw invalid([{ field: "schedule", description: "is required: an id or a name" }]);
  if (isUuid(named)) return { id: named };
  return isName(named) ? { name: named } : missing(named);
}

function missing(named: string): never {
  throw notFound("schedule", named.slice(0, 64));
}

function alreadyExists(name: string): DomainError {
  return new DomainError({
    code: "ALREADY_EXISTS",
    reason: "SCHEDULE_EXISTS",
    message: `there is another schedule ${name}`,
    resource: { type: "schedule", name },
  });
}
