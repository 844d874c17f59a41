/**
 * The path of one attempt of one step across the contexts, told once. Facts and answers come in, commands go out; nothing here
 * does I/O. What a job itself may do is in services/job/src/job.ts.
 *
 *   WAITING ──held──▶ RESERVED ──runs──▶ STARTED ──ended──▶ SETTLING ──told──▶ DONE
 *   RESERVED, STARTED ──cancelled──▶ COMPENSATING ──ended──▶ SETTLING ──told──▶ COMPENSATED; WAITING settles at once
 *   any live stage ──a command is refused for good──▶ PARKED ──operator──▶ its stage again, or COMPENSATING
 *   RESERVED, STARTED, COMPENSATING, PARKED ──operator, by force──▶ SETTLING, without waiting for the end
 *
 * An attempt has one id: its saga, its reservation and its execution share it. Every command is idempotent by that id, so a
 * crash anywhere is repaired by sending it again. Capacity is held before the execution is asked for, and that it is held is
 * saved first: only what is RESERVED can be running, and only that has to be stopped.
 */
import { uuidv5 } from "@capstan/postgres";
import type { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";

export type Stage =
  | "WAITING"
  | "RESERVED"
  | "STARTED"
  | "SETTLING"
  | "DONE"
  | "COMPENSATING"
  | "COMPENSATED"
  | "PARKED";

/** How an attempt ended, as it is reported to the job context. */
export interface Outcome {
  readonly type: "SUCCEEDED" | "FAILED" | "CANCELLED" | "TIMED_OUT" | "LOST" | "SKIPPED";
  readonly reason: string;
  readonly message: string;
  readonly exitCode: number | null;
  /** JSON value; undefined if the workload gave none. */
  readonly result: unknown;
  /** When it began to run, ISO 8601 by the provider's clock; null if it never did or nobody saw it. */
  readonly startTime: string | null;
  /** When it ended, ISO 8601 by the provider's clock; null if it never ran. */
  readonly time: string | null;
}

/** Where an attempt was placed. */
export interface Placed {
  readonly providerId: string;
  readonly providerName: string;
  readonly kind: string;
  readonly endpoint: string;
}

export interface Saga {
  readonly id: string;
  readonly tenant: string;
  readonly jobId: string;
  readonly jobName: string;
  readonly step: string;
  readonly attempt: number;
  readonly priority: number;
  /** Null where it was not read: only a start needs it. */
  readonly spec: StepSpec | null;
  readonly traceparent: string | null;
  /** When its step became READY, by the clock of the job context. */
  readonly readyTime: Date;
  /** Sagas with the same key can be placed on the same providers. */
  readonly placementKey: string;
  /** Where it waits for its turn. */
  readonly queue: string;
  /** Those of a queue with the same key share a limit; "": none. */
  readonly concurrencyKey: string;
  /** When its job times out; null if it does not. */
  readonly deadlineTime: Date | null;
  /** Its place in its list; see `orderTimeOf`. */
  readonly orderTime: Date;
  readonly stage: Stage;
  readonly reason: string;
  readonly message: string;
  readonly placed: Placed | null;
  /** How it ended, or how an operator or a cancel wants it reported; null until then. */
  readonly outcome: Outcome | null;
  /** Failed tries in a row of the command that is due. */
  readonly failures: number;
  /** The stage it was parked in; null unless PARKED. */
  readonly parkedStage: Stage | null;
  /** Guards every save. */
  readonly version: number;
  /** The number of its last fact. */
  readonly sequence: number;
  /** From now to the next look at it, if nothing happens before. */
  readonly wakeInMs: number;
}

export type Command =
  | { readonly type: "start" }
  | { readonly type: "confirm" }
  | { readonly type: "stop"; readonly reason: string; readonly message: string }
  | { readonly type: "release" }
  | { readonly type: "report"; readonly outcome: Outcome | WaitingFor | Started };

/** An attempt runs. */
export interface Started {
  readonly type: "STARTED";
  readonly reason: "UNSPECIFIED";
  readonly message: "";
  /** ISO 8601, by the provider's clock. */
  readonly time: string | null;
}

/** Why an attempt is not placed yet. */
interface WaitingFor {
  readonly type: "WAITING";
  readonly reason: string;
  readonly message: string;
}

export type Happened =
  | { readonly type: "held"; readonly placed: Placed }
  | { readonly type: "notPlaced"; readonly reason: string; readonly message: string }
  | { readonly type: "started"; readonly time: string | null }
  | { readonly type: "ended"; readonly outcome: Outcome }
  | { readonly type: "cancelled"; readonly reason: string; readonly message: string }
  | { readonly type: "waitedTooLong"; readonly message: string }
  | { readonly type: "told" }
  | { readonly type: "commandFailed"; readonly message: string }
  | { readonly type: "commandRefused"; readonly message: string }
  | { readonly type: "overdue" }
  | { readonly type: "retried" }
  | { readonly type: "skipped" }
  | { readonly type: "compensated" }
  | { readonly type: "forced" };

export interface Advance {
  readonly saga: Saga;
  readonly commands: readonly Command[];
}

/** A start is asked for again this soon the first time: the connection may break between the save and the call. */
const startAgainMs = 5_000;

/** How long a stage may stand still before its command is sent again. */
export const wakeInMs = {
  WAITING: 0,
  RESERVED: 30_000,
  STARTED: 300_000,
  SETTLING: 1_000,
  COMPENSATING: 30_000,
} as const;

/**
 * How long capacity is held without confirmation: as long as the start may take, and then far longer than the execution context may
 * be away; a day at most.
 */
export function holdSecondsOf({ spec }: Pick<Saga, "spec">): number {
  return Math.min(86_400, 1_800 + (spec?.startTimeout?.seconds ?? 0));
}

/** What to run; throws for a saga that was remembered without it, which nobody starts. */
export function specOf({ id, spec }: Pick<Saga, "id" | "spec">): StepSpec {
  if (spec === null) throw new Error(`saga ${id} was not read with its spec`);
  return spec;
}

/** The id of an attempt. */
export function sagaId(jobId: string, step: string, attempt: number): string {
  return uuidv5(`attempt/${jobId}/${step}/${attempt}`);
}

/** What follows from several things in a row. Capacity that is given back needs no confirmation. */
export function advanceAll(saga: Saga, happened: readonly Happened[]): Advance {
  let after = saga;
  const commands: Command[] = [];
  for (const each of happened) {
    const next = advance(after, each);
    after = next.saga;
    commands.push(...next.commands);
  }
  const isReleased = commands.some(({ type }) => type === "release");
  return { saga: after, commands: isReleased ? commands.filter(({ type }) => type !== "confirm") : commands };
}

export function isEnded(stage: Stage): boolean {
  return stage === "DONE" || stage === "COMPENSATED";
}

/** What happens next; the saga itself (the same object) when it is already so. */
export function advance(saga: Saga, happened: Happened): Advance {
  if (isEnded(saga.stage)) return only(saga);
  switch (happened.type) {
    case "held":
      // Otherwise whoever moved it on also gives back what is held: a release of an id not yet held is remembered.
      if (saga.stage !== "WAITING") return only(saga);
      return go(saga, "RESERVED", { placed: happened.placed, wakeInMs: startAgainMs }, { type: "start" });

    case "notPlaced":
      return saga.stage === "WAITING" ? stillWaiting(saga, happened) : only(saga);

    case "started":
      return confirm(saga, happened.time);

    case "ended":
      return end(saga, happened.outcome);

    case "cancelled":
      return cancel(saga, happened);

    case "waitedTooLong":
      if (saga.stage !== "WAITING") return only(saga);
      return settle(saga, unrun("FAILED", "QUEUE_TIMEOUT", happened.message));

    case "told":
      if (saga.stage !== "SETTLING") return only(saga);
      return go(saga, isCompensation(saga) ? "COMPENSATED" : "DONE", {});

    case "commandFailed":
      return retryLater(saga, happened.message);

    case "commandRefused":
      return saga.stage === "PARKED" ? only(saga) : park(saga, happened.message);

    case "overdue":
      if (saga.stage === "PARKED") return only(saga);
      return { saga: { ...saga, wakeInMs: waitOf(saga.stage) }, commands: commandsDue(saga) };

    case "retried":
    case "skipped":
    case "compensated":
      return saga.stage === "PARKED" ? moveParked(saga, happened.type) : only(saga);

    case "forced":
      return canBeForced(saga.stage) ? force(saga) : only(saga);
  }
}

/** A step that waits for an operator says so. */
function park(saga: Saga, message: string): Advance {
  const why = { reason: "COMMAND_REFUSED", message };
  return go(
    saga,
    "PARKED",
    { ...why, parkedStage: saga.stage },
    { type: "report", outcome: { type: "WAITING", ...why } },
  );
}

function moveParked(saga: Saga, verb: "retried" | "skipped" | "compensated"): Advance {
  if (verb === "skipped") return undo(saga, byOperator("SKIPPED", "an operator has skipped it"));
  if (verb === "compensated") return undo(saga, byOperator("FAILED", "an operator has undone it"));
  const back: Saga = { ...saga, stage: saga.parkedStage ?? "WAITING" };
  return go(back, back.stage, { reason: "OPERATOR" }, ...commandsDue(back));
}

/** What placed it may never answer again; what waits is cancelled with its job, and what settles goes on by itself. */
export function canBeForced(stage: Stage): boolean {
  return stage === "RESERVED" || stage === "STARTED" || stage === "COMPENSATING" || stage === "PARKED";
}

/**
 * Nobody waits for the end of its execution any more: what still runs is stopped by the reconciler, as everything that no saga leads. One
 * that is parked because the job will not hear of its end is over without having told it.
 */
function force(saga: Saga): Advance {
  if (saga.parkedStage === "SETTLING") return go(saga, "COMPENSATED", {}, { type: "release" });
  if (saga.outcome !== null) return settle(saga, saga.outcome);
  if (saga.stage === "COMPENSATING") return settle(saga, unrun("CANCELLED", saga.reason, saga.message));
  return settle(saga, byOperator("FAILED", "an operator has ended it without its execution"));
}

/** What an operator has done to a saga. */
export type Verb = "retried" | "skipped" | "compensating" | "forced";

/** What an operator should know. A saga that goes its normal way is silent: the facts of job and execution tell its path. */
export type News = "waiting" | "overdue" | "parked" | "compensated" | Verb;

/** What a move is told as, in order; `verb` is what an operator did to make it. */
export function newsOf(before: Saga, after: Saga, verb: Verb | null = null): readonly News[] {
  const news: News[] = verb === null ? [] : [verb];
  if (isBlocked(after) && !(isBlocked(before) && before.reason === after.reason)) news.push("waiting");
  if (after.stage === "PARKED" && (before.stage !== "PARKED" || verb === "retried")) news.push("parked");
  if (before.stage !== "COMPENSATED" && after.stage === "COMPENSATED") news.push("compensated");
  return news;
}

/** It waits for something else than its turn. */
function isBlocked({ stage, reason }: Saga): boolean {
  return stage === "WAITING" && reason !== "QUEUED" && reason !== "OPERATOR";
}

function only(saga: Saga, ...commands: readonly Command[]): Advance {
  return { saga, commands };
}

function go(saga: Saga, stage: Stage, fields: Partial<Saga>, ...commands: readonly Command[]): Advance {
  const fresh = { reason: "UNSPECIFIED", message: "", failures: 0, parkedStage: null, wakeInMs: waitOf(stage) };
  return { saga: { ...saga, ...fresh, ...fields, stage }, commands };
}

function waitOf(stage: Stage): number {
  return stage in wakeInMs ? wakeInMs[stage as keyof typeof wakeInMs] : 0;
}

function stillWaiting(saga: Saga, { reason, message }: { reason: string; message: string }): Advance {
  const isNews = saga.reason !== reason || saga.message !== message;
  const after = { ...saga, reason, message, failures: 0, wakeInMs: wakeInMs.WAITING };
  return isNews ? only(after, { type: "report", outcome: { type: "WAITING", reason, message } }) : only(after);
}

/** The pivot: it runs. One that is being stopped is told of all the same, because it did run. */
function confirm(saga: Saga, time: string | null): Advance {
  if (saga.stage === "SETTLING") return only(saga);
  const commands: readonly Command[] = [{ type: "confirm" }, { type: "report", outcome: startedAt(time) }];
  return saga.stage === "RESERVED" ? go(saga, "STARTED", {}, ...commands) : only(saga, ...commands);
}

function startedAt(time: string | null): Started {
  return { type: "STARTED", reason: "UNSPECIFIED", message: "", time };
}

/** The report of an end says when it began too: a short one tells no start, and the fact of a start may come after that of the end. */
function end(saga: Saga, outcome: Outcome): Advance {
  const told = saga.outcome ?? outcome;
  return settle(saga, { ...told, startTime: told.startTime ?? outcome.startTime });
}

/** The end is known: the job is told, the capacity given back. */
function settle(saga: Saga, outcome: Outcome): Advance {
  return go(saga, "SETTLING", { outcome }, { type: "report", outcome }, { type: "release" });
}

/** A saga that was never placed has nothing to stop; a placed one is stopped, and settles when its end is confirmed. */
function cancel(saga: Saga, { reason, message }: { reason: string; message: string }): Advance {
  switch (saga.stage) {
    case "WAITING":
      return settle(saga, unrun("CANCELLED", reason, message));
    case "RESERVED":
    case "STARTED":
      return go(
        saga,
        "COMPENSATING",
        { reason, message },
        { type: "stop", reason: stopReason({ outcome: null, reason }), message },
      );
    case "PARKED":
      return undo(saga, unrun("CANCELLED", reason, message));
    default:
      return only(saga);
  }
}

/**
 * The way out of PARKED: whatever was placed is stopped, and `outcome` is what the job is told in the end. What has ended already
 * would not tell of its end once more.
 */
function undo(saga: Saga, outcome: Outcome): Advance {
  if (saga.placed === null || saga.parkedStage === "SETTLING") return settle(saga, outcome);
  const { reason, message } = outcome;
  const stop: Command = { type: "stop", reason: "OPERATOR", message };
  return go(saga, "COMPENSATING", { outcome, reason, message }, stop);
}

function byOperator(type: Outcome["type"], message: string): Outcome {
  return unrun(type, "OPERATOR", message);
}

/** An end that no workload came to. */
function unrun(type: Outcome["type"], reason: string, message: string): Outcome {
  return { type, reason, message, exitCode: null, result: undefined, startTime: null, time: null };
}

function isCompensation({ outcome }: Saga): boolean {
  return outcome?.type === "CANCELLED" || outcome?.reason === "OPERATOR";
}

/** The wait doubles up to half a minute. What a stop was given to say stays: it is told to the execution when it succeeds. */
function retryLater(saga: Saga, failure: string): Advance {
  const failures = saga.failures + 1;
  const message = saga.stage === "COMPENSATING" ? saga.message : failure;
  return only({ ...saga, failures, message, wakeInMs: Math.min(30_000, 200 * 2 ** Math.min(failures, 10)) });
}

/** The commands of a stage, sent again when it has stood still. */
function commandsDue(saga: Saga): readonly Command[] {
  switch (saga.stage) {
    case "RESERVED":
      return [{ type: "start" }];
    case "STARTED":
      return [{ type: "start" }, { type: "confirm" }];
    case "SETTLING":
      return saga.outcome === null ? [] : settle(saga, saga.outcome).commands;
    case "COMPENSATING":
      return [{ type: "stop", reason: stopReason(saga), message: saga.message }];
    default:
      return [];
  }
}

/** What an execution can be asked to end for. Whatever else has ended its job is a cancel to it: only its job knows more. */
const stopReasons: readonly string[] = ["CANCELLED_BY_USER", "JOB_TIMEOUT", "START_TIMEOUT", "OPERATOR"];

function stopReason({ outcome, reason }: Pick<Saga, "outcome" | "reason">): string {
  const why = outcome?.reason ?? (reason === "JOB_TIMEOUT" ? reason : "CANCELLED_BY_USER");
  return stopReasons.includes(why) ? why : "CANCELLED_BY_USER";
}
