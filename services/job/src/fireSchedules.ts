/**
 * The clock of schedules. A run is submitted in one transaction with what the schedule says of itself afterwards, under the lock of the
 * schedule's row, so that it is submitted once, whichever replica is first and wherever one is killed.
 *
 * Every replica keeps time for all schedules: a slow poll reads when the next is due, and a timer wakes for that. What somebody changes
 * is heard of at once, here in process and on other replicas by its fact, so that a new schedule need not wait for a poll.
 */
import { DomainError } from "@capstan/errors";
import type { NatsConnection } from "@capstan/messaging";
import { appendFacts, type Db, inTransaction, type Pool } from "@capstan/postgres";
import type { App } from "@capstan/service";
import { isJobTerminal, type Job } from "./job.ts";
import { cancelOf, type MoveJobs } from "./moveJobs.ts";
import type { Plans } from "./plans.ts";
import type { QueueLimits } from "./queueLimits.ts";
import { pauseSchedule, type Schedule, type ScheduleMove } from "./schedule.ts";
import { checkRuns } from "./scheduleJobs.ts";
import { scheduleFact } from "./scheduleProto.ts";
import { type Activity, type Advance, advance, type RunOutcome, withOutcomes } from "./scheduleRuns.ts";
import {
  claimDue,
  claimSchedules,
  findReplaced,
  type LockedSchedules,
  readActivities,
  readAgenda,
  saveSchedules,
} from "./scheduleStore.ts";
import { type Accepted, type CheckedJob, type NoteBorn, writeWithin } from "./submitJobs.ts";

const batchSize = 500;
/** Only what nobody told of has to wait for it: the fact of a change was lost, and the replica that made it is gone. */
const pollMs = 20_000;
/** Further ahead the next poll sees it in time. */
const horizonMs = 2 * pollMs;
/** While a run waits for another to end, which may end on another replica. */
const bufferedPollMs = 1_000;
/** Those that are due are at work on another replica, or were when it was killed. */
const busyRetryMs = 100;
/** Many changes that come together are met by one look, and so are many jobs that end. */
const settleMs = 20;
const endsSettleMs = 250;

interface FireSchedulesOptions {
  readonly pool: Pool;
  readonly nats: NatsConnection;
  readonly plans: Plans;
  readonly limits: QueueLimits;
  readonly moveJobs: MoveJobs;
  readonly noteBorn: NoteBorn;
}

interface ScheduleClock {
  /** Looks at schedules that somebody has just changed. */
  noteChanged(next: Date | null): void;
  /** Looks at jobs that were just saved: the end of one may release a run that waits, or be a failure too many. */
  noteJobs(jobs: readonly Job[]): void;
}

export function startFireSchedules(app: App, options: FireSchedulesOptions): ScheduleClock {
  const ended = new Set<string>();
  const loop = app.startLoop({ name: "fire-schedules", intervalMs: pollMs, once });
  let timer: NodeJS.Timeout | undefined;
  let dueAt = Number.POSITIVE_INFINITY;
  app.onStop(() => clearTimeout(timer));

  /** An earlier time that was asked for before stays. */
  function wakeIn(ms: number): void {
    const at = performance.now() + ms;
    if (at >= dueAt) return;
    clearTimeout(timer);
    dueAt = at;
    timer = setTimeout(() => {
      dueAt = Number.POSITIVE_INFINITY;
      loop.wake();
    }, ms);
  }

  async function once(): Promise<boolean> {
    const ids = [...ended];
    ended.clear();
    const { nextLookMs, hasMore } = await fireSchedulesOnce(options, ids);
    if (nextLookMs !== null && nextLookMs < horizonMs) wakeIn(nextLookMs);
    return hasMore;
  }

  function noteChanged(next: Date | null): void {
    if (next !== null && next.getTime() - Date.now() < horizonMs) wakeIn(settleMs);
  }

  for (const event of ["created", "updated", "resumed"]) {
    options.nats.subscribe(`capstan.v1.*.job.schedule.${event}.*`, {
      callback: (error, message) => {
        if (error === null) noteChanged(nextTimeIn(message.string()));
      },
    });
  }

  return {
    noteChanged,
    noteJobs(jobs) {
      for (const { scheduleId, state } of jobs) {
        if (scheduleId !== null && isJobTerminal(state)) ended.add(scheduleId);
      }
      if (ended.size > 0) wakeIn(endsSettleMs);
    },
  };
}

/** Of a fact; now if it cannot be read, so that we look rather than miss it. */
function nextTimeIn(json: string): Date | null {
  try {
    const { nextTime } = JSON.parse(json) as { nextTime?: string };
    return nextTime === undefined ? null : new Date(nextTime);
  } catch {
    return new Date();
  }
}

/** One pass. `ended` are schedules of which a job has just ended; `nextLookMs` is null when nothing is ahead. */
async function fireSchedulesOnce(
  options: FireSchedulesOptions,
  ended: readonly string[],
): Promise<{ readonly nextLookMs: number | null; readonly hasMore: boolean }> {
  const { pool, moveJobs } = options;
  const { dueInMs, isAnyBuffered, released } = await readAgenda(pool, batchSize);
  const isDue = dueInMs !== null && dueInMs <= 0;
  let fired = 0;
  if (isDue) fired += await fire(options, (db) => claimDue(db, batchSize));
  const ids = [...new Set([...ended, ...released])];
  if (ids.length > 0) fired += await fire(options, (db) => claimSchedules(db, ids));
  if (isAnyBuffered || fired > 0) await cancelReplaced(pool, moveJobs);
  const hasMore = fired > 0 || released.length === batchSize;
  if (isDue && !hasMore) return { nextLookMs: busyRetryMs, hasMore };
  const dueMs = dueInMs === null ? Number.POSITIVE_INFINITY : Math.max(1, Math.ceil(dueInMs));
  const nextLookMs = Math.min(dueMs, isAnyBuffered ? bufferedPollMs : Number.POSITIVE_INFINITY);
  return { nextLookMs: Number.isFinite(nextLookMs) ? nextLookMs : null, hasMore };
}

/** Claims schedules, and does what is to be done with them; gives back how many have changed. */
async function fire(
  { pool, plans, limits, noteBorn }: FireSchedulesOptions,
  claim: (db: Db) => Promise<LockedSchedules>,
): Promise<number> {
  const { jobs, outcomes, count } = await inTransaction(pool, async (db) => {
    const { schedules, now } = await claim(db);
    if (schedules.length === 0) return { jobs: [], outcomes: [], count: 0 };
    const activities = await readActivities(db, schedules);
    const decided = schedules.map((before) => {
      const activity = activities.get(before.id) ?? { live: 0, failures: 0 };
      return { before, advance: advanceOrPause(before, activity, now) };
    });
    const checked = await checkAdvances(db, decided, now);
    const jobs = checked.flatMap((one) => ("jobs" in one ? one.jobs : []));
    const outcomes = jobs.length > 0 ? await writeWithin(db, jobs, plans, limits) : [];
    const becameOf = new Map(jobs.map((job, index) => [job, runOutcome(outcomes[index])]));
    const moves = checked.map((one) => ({ before: one.before, move: moveOf(one, becameOf) }));
    await saveMoves(db, moves, null);
    return { jobs, outcomes, count: moves.filter(({ move }) => move.events.length > 0).length };
  });
  noteBorn(jobs, outcomes);
  return count;
}

/** One whose times cannot be computed any more must not keep all others from theirs. */
function advanceOrPause(schedule: Schedule, activity: Activity, now: Date): Advance {
  try {
    return advance(schedule, activity, now);
  } catch (error) {
    const message = String(error).slice(0, 1_024);
    return { ...pauseSchedule(schedule, { reason: "TIMES_FAILED", message }, now), runs: [] };
  }
}

/** What a schedule does, with the jobs of its runs; or what it does instead because one of them was refused. */
type CheckedAdvance = { readonly before: Schedule } & (
  | { readonly advance: Advance; readonly jobs: readonly CheckedJob[] }
  | { readonly instead: ScheduleMove }
);

/** The jobs of all runs. A schedule of which one is refused pauses: trying again would not help until somebody acts. */
async function checkAdvances(
  db: Db,
  decided: readonly { readonly before: Schedule; readonly advance: Advance }[],
  now: Date,
): Promise<readonly CheckedAdvance[]> {
  const runs = decided.flatMap(({ before: schedule, advance }) => advance.runs.map((time) => ({ schedule, time })));
  const checked = runs.length === 0 ? [] : await checkRuns(db, runs, now);
  let at = 0;
  return decided.map(({ before, advance }): CheckedAdvance => {
    const own = checked.slice(at, at + advance.runs.length);
    at += advance.runs.length;
    const refusal = own.find((job) => job instanceof DomainError);
    const jobs = own.flatMap((job) => (job instanceof DomainError ? [] : [job]));
    if (refusal === undefined) return { before, advance, jobs };
    const message = refusal.message.slice(0, 1_024);
    return { before, instead: pauseSchedule(before, { reason: "JOB_REFUSED", message }, now) };
  });
}

function moveOf(checked: CheckedAdvance, becameOf: ReadonlyMap<CheckedJob, RunOutcome>): ScheduleMove {
  if ("instead" in checked) return checked.instead;
  return withOutcomes(
    checked.advance,
    checked.jobs.flatMap((job) => becameOf.get(job) ?? []),
  );
}

/**
 * A full queue keeps a run out, and so does a backfill that came first: a run has no key but its time. Anything else cannot be, under the
 * lock; were it so, nothing must be saved.
 */
function runOutcome(outcome: Accepted | DomainError | undefined): RunOutcome {
  if (outcome instanceof DomainError) {
    if (outcome.code === "RESOURCE_EXHAUSTED") return { refused: outcome.message };
    if (outcome.reason === "KEY_IN_FLUX") return { refused: "a backfill has submitted the run of this time" };
    throw outcome;
  }
  if (outcome === undefined || outcome.existed) throw new Error("a run was submitted before");
  return { jobId: outcome.jobId };
}

/** Saves schedules with the facts of what happened to them, in the caller's transaction. */
export async function saveMoves(
  db: Db,
  moves: readonly { readonly before: Schedule; readonly move: ScheduleMove }[],
  traceparent: string | null,
): Promise<void> {
  const changed = moves.filter(({ move }) => move.events.length > 0);
  if (changed.length === 0) return;
  await saveSchedules(
    db,
    changed.map(({ before, move: { after } }) => ({ before, after })),
  );
  await appendFacts(
    db,
    changed.flatMap(({ move: { events } }) => events.map((event) => scheduleFact(event, traceparent))),
  );
}

/** Asks jobs to end that a newer run waits for; asked again until they do. */
async function cancelReplaced(pool: Pool, moveJobs: MoveJobs): Promise<void> {
  const ids = await findReplaced(pool, batchSize);
  if (ids.length === 0) return;
  const cause = { reason: "REPLACED", message: "a newer run of its schedule takes its place" };
  await moveJobs(ids, (job, now, flow) => (isJobTerminal(job.state) ? undefined : cancelOf(job, cause, "", now, flow)));
}
