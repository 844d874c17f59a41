/** The statements of schedules. Whoever submits a run takes the lock of its schedule first, and jobs after it. */
import { DomainError } from "@capstan/errors";
import { type Filter, filterToSql } from "@capstan/grpc";
import type { Db } from "@capstan/postgres";
import { ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import type { Schedule, ScheduleReason, ScheduleState } from "./schedule.ts";
import type { Activity } from "./scheduleRuns.ts";

interface ScheduleRow {
  id: string;
  tenant: string;
  name: string;
  spec: unknown;
  state: ScheduleState;
  reason: ScheduleReason;
  message: string;
  next_time: Date | null;
  next_fire_time: Date | null;
  last_time: Date | null;
  last_job_id: string | null;
  buffered_time: Date | null;
  fired: number;
  missed: number;
  skipped: number;
  failures_since: Date;
  sequence: number;
  revision: number;
  create_time: Date;
  update_time: Date;
  state_time: Date;
  now: Date;
}

const select = "select s.*, clock_timestamp() as now from job.schedule s";

function toSchedule(row: ScheduleRow): Schedule {
  return {
    id: row.id,
    tenant: row.tenant,
    name: row.name,
    spec: ScheduleSpec.fromJSON(row.spec),
    state: row.state,
    reason: row.reason,
    message: row.message,
    stateTime: row.state_time,
    nextTime: row.next_time,
    nextFireTime: row.next_fire_time,
    lastTime: row.last_time,
    lastJobId: row.last_job_id,
    bufferedTime: row.buffered_time,
    fired: Number(row.fired),
    missed: Number(row.missed),
    skipped: Number(row.skipped),
    failuresSince: row.failures_since,
    sequence: row.sequence,
    revision: row.revision,
    createTime: row.create_time,
    updateTime: row.update_time,
  };
}

/** Schedules that no other transaction can change until this one ends. */
export interface LockedSchedules {
  readonly schedules: readonly Schedule[];
  /** The database's clock, by which everything in this transaction is decided; 1970 if there are none. */
  readonly now: Date;
}

function toLocked(rows: readonly ScheduleRow[]): LockedSchedules {
  return { schedules: rows.map(toSchedule), now: rows.at(-1)?.now ?? new Date(0) };
}

/** The database's clock. */
export async function readClock(db: Db): Promise<Date> {
  const { rows } = await db.query<{ now: Date }>({ name: "read_clock", text: "select clock_timestamp() as now" });
  return rows[0]?.now ?? new Date();
}

/** Those that are due and that nobody else works on, the longest due first. */
export async function claimDue(db: Db, limit: number): Promise<LockedSchedules> {
  const { rows } = await db.query<ScheduleRow>({
    name: "claim_due_schedules",
    text: `${select}
            where next_fire_time <= (select clock_timestamp())
            order by next_fire_time
            limit $1
              for update skip locked`,
    values: [limit],
  });
  return toLocked(rows);
}

/** Those of these that nobody else works on. */
export async function claimSchedules(db: Db, ids: readonly string[]): Promise<LockedSchedules> {
  const { rows } = await db.query<ScheduleRow>({
    name: "claim_schedules",
    text: `${select} where s.id = any($1::uuid[]) order by s.id for update skip locked`,
    values: [ids],
  });
  return toLocked(rows);
}

/** What a caller names a schedule by: exactly one is given. */
export type ScheduleReference = { readonly id: string } | { readonly name: string };

/** Null when the tenant has none such. */
export async function findSchedule(db: Db, tenant: string, reference: ScheduleReference): Promise<Schedule | null> {
  return (await selectSchedule(db, tenant, reference, "")).schedules[0] ?? null;
}

/** The one named, or none when the tenant has none such. */
export function lockSchedule(db: Db, tenant: string, reference: ScheduleReference): Promise<LockedSchedules> {
  return selectSchedule(db, tenant, reference, "for update");
}

async function selectSchedule(db: Db, tenant: string, reference: ScheduleReference, lock: "" | "for update") {
  const [column, value] = "id" in reference ? ["id", reference.id] : ["name", reference.name];
  const { rows } = await db.query<ScheduleRow>(`${select} where s.tenant = $1 and s.${column} = $2 ${lock}`, [
    tenant,
    value,
  ]);
  return toLocked(rows);
}

/** What the loop has to do, and when. */
interface Agenda {
  /** Until the next schedule is due by the database's clock; not positive if one is; null if there is none. */
  readonly dueInMs: number | null;
  /** Whether a run waits for another to end. */
  readonly isAnyBuffered: boolean;
  /** Schedules of which a run waits for nothing any more. */
  readonly released: readonly string[];
}

/** One statement, which reads one row of an index when nothing is due and nothing waits. */
export async function readAgenda(db: Db, limit: number): Promise<Agenda> {
  const { rows } = await db.query<{ due_in_ms: number | null; buffered: boolean; released: string[] | null }>({
    name: "read_schedule_agenda",
    text: `select (select (extract(epoch from next_fire_time - clock_timestamp()) * 1000)::float8
                     from job.schedule where next_fire_time is not null order by next_fire_time limit 1) as due_in_ms,
                  exists (select from job.schedule where buffered_time is not null) as buffered,
                  (select array_agg(id::text)
                     from (select id
                             from job.schedule s
                            where buffered_time is not null
                              and not exists (select from job.job j where j.schedule_id = s.id and j.end_time is null)
                            limit $1) as free) as released`,
    values: [limit],
  });
  const row = rows[0];
  return {
    dueInMs: row?.due_in_ms ?? null,
    isAnyBuffered: row?.buffered ?? false,
    released: row?.released ?? [],
  };
}

/** What the jobs of locked schedules do; read after the lock, so that no run that was just submitted is left out. */
export async function readActivities(db: Db, schedules: readonly Schedule[]): Promise<ReadonlyMap<string, Activity>> {
  const { rows } = await db.query<{ id: string; live: number; ends: string[] | null }>({
    name: "read_schedule_activities",
    text: `select s.id, live.jobs as live, ends.states as ends
             from unnest($1::uuid[], $2::int[], $3::timestamptz[]) as s (id, most, since)
             cross join lateral (
               select count(*)::int as jobs from job.job j where j.schedule_id = s.id and j.end_time is null
             ) live
             cross join lateral (
               select array_agg(state order by id desc) as states
                 from (select j.state, j.id
                         from job.job j
                        where j.schedule_id = s.id and j.state in ('SUCCEEDED', 'FAILED', 'TIMED_OUT') and j.end_time >= s.since
                        order by j.id desc
                        limit s.most) as newest
             ) ends`,
    values: [
      schedules.map(({ id }) => id),
      schedules.map(({ spec }) => spec.maxConsecutiveFailures),
      schedules.map(({ failuresSince }) => failuresSince),
    ],
  });
  return new Map(rows.map(({ id, live, ends }) => [id, { live, failures: failuresOf(ends ?? []) }]));
}

/** How many have failed before the first that has not. */
function failuresOf(newestFirst: readonly string[]): number {
  const at = newestFirst.indexOf("SUCCEEDED");
  return at === -1 ? newestFirst.length : at;
}

/** Jobs that are to be cancelled because a newer run of their schedule waits for that. */
export async function findReplaced(db: Db, limit: number): Promise<readonly string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: "find_replaced_jobs",
    text: `select j.id
             from job.schedule s
             join job.job j on j.schedule_id = s.id and j.end_time is null
            where s.buffered_time is not null and s.spec ->> 'overlap' = 'OVERLAP_POLICY_CANCEL_RUNNING'
              and j.state <> 'CANCELLING'
            limit $1`,
    values: [limit],
  });
  return rows.map(({ id }) => id);
}

/** The jobs of runs by the plan, by the milliseconds of their times. */
export async function findRuns(
  db: Db,
  scheduleId: string,
  times: readonly Date[],
): Promise<ReadonlyMap<number, string>> {
  const { rows } = await db.query<{ id: string; time: Date }>(
    `select id, scheduled_time as time from job.job where schedule_id = $1 and scheduled_time = any($2::timestamptz[])`,
    [scheduleId, times],
  );
  return new Map(rows.map(({ id, time }) => [time.getTime(), id]));
}

/** False if the tenant has one of that name. */
export async function insertSchedule(db: Db, schedule: Schedule): Promise<boolean> {
  const { rowCount } = await db.query(
    `insert into job.schedule (id, tenant, name, spec, state, reason, message, next_time, next_fire_time, sequence, create_time,
                               failures_since)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)
     on conflict (tenant, name) do nothing`,
    [
      schedule.id,
      schedule.tenant,
      schedule.name,
      JSON.stringify(ScheduleSpec.toJSON(schedule.spec)),
      schedule.state,
      schedule.reason,
      schedule.message,
      schedule.nextTime,
      schedule.nextFireTime,
      schedule.sequence,
      schedule.createTime,
    ],
  );
  return rowCount === 1;
}

/** A schedule as it was locked and as it is to be saved. */
interface SavedSchedule {
  readonly before: Schedule;
  readonly after: Schedule;
}

/**
 * Saves locked schedules. Throws ABORTED if one has another number of facts or another next time than when it was read: no run is
 * submitted twice, even if the lock should not have held.
 */
export async function saveSchedules(db: Db, saved: readonly SavedSchedule[]): Promise<void> {
  const after = saved.map((one) => one.after);
  const { rowCount } = await db.query({
    name: "save_schedules",
    text: `update job.schedule s
              set spec = coalesce(c.spec, s.spec), state = c.state, reason = c.reason, message = c.message,
                  state_time = case when s.state = c.state then s.state_time else clock_timestamp() end,
                  next_time = c.next_time, next_fire_time = c.next_fire_time, last_time = c.last_time,
                  last_job_id = c.last_job_id, buffered_time = c.buffered_time, fired = c.fired, missed = c.missed,
                  skipped = c.skipped, failures_since = c.failures_since, sequence = c.sequence, revision = c.revision,
                  update_time = c.update_time
             from unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::json[], $5::text[], $6::text[], $7::text[],
                         $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::uuid[], $12::timestamptz[], $13::float8[],
                         $14::float8[], $15::float8[], $16::timestamptz[], $17::int[], $18::int[], $19::timestamptz[])
               as c (id, old_sequence, old_fire_time, spec, state, reason, message, next_time, next_fire_time, last_time,
                     last_job_id, buffered_time, fired, missed, skipped, failures_since, sequence, revision, update_time)
            where s.id = c.id and s.sequence = c.old_sequence and s.next_fire_time is not distinct from c.old_fire_time`,
    values: [
      after.map(({ id }) => id),
      saved.map(({ before }) => before.sequence),
      saved.map(({ before }) => before.nextFireTime),
      saved.map((one) =>
        one.after.spec === one.before.spec ? null : JSON.stringify(ScheduleSpec.toJSON(one.after.spec)),
      ),
      after.map(({ state }) => state),
      after.map(({ reason }) => reason),
      after.map(({ message }) => message),
      after.map(({ nextTime }) => nextTime),
      after.map(({ nextFireTime }) => nextFireTime),
      after.map(({ lastTime }) => lastTime),
      after.map(({ lastJobId }) => lastJobId),
      after.map(({ bufferedTime }) => bufferedTime),
      after.map(({ fired }) => fired),
      after.map(({ missed }) => missed),
      after.map(({ skipped }) => skipped),
      after.map(({ failuresSince }) => failuresSince),
      after.map(({ sequence }) => sequence),
      after.map(({ revision }) => revision),
      after.map(({ updateTime }) => updateTime),
    ],
  });
  if (rowCount === saved.length) return;
  throw new DomainError({
    code: "ABORTED",
    reason: "SCHEDULE_CHANGED",
    message: "a schedule has changed since it was read; try again",
  });
}

export async function deleteScheduleRow(db: Db, { id }: Schedule): Promise<void> {
  await db.query("delete from job.schedule where id = $1", [id]);
}

interface ScheduleListQuery {
  readonly tenant: string;
  readonly afterName: string;
  readonly filter: Filter | null;
  readonly limit: number;
}

const filterColumns = {
  name: "s.name",
  state: "s.state",
  reason: "s.reason",
  template: "s.spec -> 'template' ->> 'name'",
  next_time: "s.next_time",
};

export async function listSchedules(
  db: Db,
  { tenant, afterName, filter, limit }: ScheduleListQuery,
): Promise<readonly Schedule[]> {
  const values: unknown[] = [tenant, afterName, limit];
  const { rows } = await db.query<ScheduleRow>({
    text: `${select}
            where s.tenant = $1 and s.name > $2 and ${filterToSql(filter, filterColumns, values)}
            order by s.name
            limit $3`,
    values,
  });
  return rows.map(toSchedule);
}
