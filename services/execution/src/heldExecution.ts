/**
 * An execution of this runner: what the database has of it, and what was observed since and is not saved yet. The parts are
 * changed by driveExecution.ts (observes) and moveWriter.ts (saves), on one thread.
 */
import type { WorkSpan } from "@capstan/service";
import type { AnyEnd, OutputSink, Running } from "./backends/backend.ts";
import { type Assignment, apply, type Execution, isLive, type Stop, stopOf } from "./execution.ts";
import { type Limits, limitsOf } from "./executionProto.ts";
import type { LogChunk } from "./logStore.ts";
import type { LogTotals } from "./logTotals.ts";
import type { ExecutionLog } from "./logWriter.ts";
import { createOutputReader, type OutputReader } from "./output.ts";
import type { Observation } from "./verdict.ts";

export interface Observed {
  readonly observation: Observation;
  /** Monotonic, of this process. */
  readonly atMs: number;
}

export interface HeldExecution {
  readonly assignment: Assignment;
  readonly limits: Limits;
  readonly log: ExecutionLog;
  readonly output: OutputReader;
  readonly sink: OutputSink;
  readonly span: WorkSpan;
  /** Aborts when a stop was asked for, by anyone; for those who wait to start it. */
  readonly stopping: AbortController;
  /** Monotonic; before this process began for one that was taken over. */
  readonly createdAtMs: number;
  /** Since when this runner holds it; monotonic. */
  readonly heldAtMs: number;
  /** As the database has it, as far as we know. */
  saved: Execution;
  /** Not saved, oldest first. */
  observed: readonly Observed[];
  /** The stop that somebody else has stored; null while we know of none. */
  storedStop: Stop | null;
  running: Running<AnyEnd> | null;
  /** Monotonic; null before it was seen to run. */
  startedAtMs: number | null;
  /** When the backend was first asked to stop it. */
  stopTime: Date | null;
  /** What its end stores of its log; null while it is live. */
  sealed: { readonly totals: LogTotals; readonly rest: readonly LogChunk[] } | null;
  timer: NodeJS.Timeout | null;
  /** Tries to save it that failed although the database was there. */
  failedSaves: number;
  /** True once its end is saved or another runner holds it: nothing more is done with it. */
  isOver: boolean;
}

interface HoldOptions {
  readonly assignment: Assignment;
  readonly execution: Execution;
  readonly log: ExecutionLog;
  readonly span: WorkSpan;
  readonly createdAtMs: number;
  readonly startedAtMs: number | null;
}

export function hold(options: HoldOptions): HeldExecution {
  const { log, execution } = options;
  const output = createOutputReader();
  const held: HeldExecution = {
    assignment: options.assignment,
    limits: limitsOf(options.assignment.spec),
    log,
    output,
    sink: {
      write(stream, bytes) {
        if (stream === "stdout") output.push(bytes);
        return log.write(stream, bytes);
      },
    },
    span: options.span,
    stopping: new AbortController(),
    createdAtMs: options.createdAtMs,
    heldAtMs: performance.now(),
    saved: execution,
    observed: [],
    storedStop: stopOf(execution),
    running: null,
    startedAtMs: options.startedAtMs,
    stopTime: null,
    sealed: null,
    timer: null,
    failedSaves: 0,
    isOver: false,
  };
  if (held.storedStop !== null) held.stopping.abort();
  return held;
}

/** Takes note of a stop that is stored; nothing if it ended before. */
export function learnStop(held: HeldExecution, stop: Stop): void {
  held.storedStop ??= stop;
  held.saved = withStop(held.saved, stop);
  held.stopping.abort();
}

/** Why it has to end: as the database has it, or as this runner decided and has not saved yet; null while nobody asked. */
export function knownStop({ storedStop, saved, observed }: HeldExecution): Stop | null {
  if (storedStop !== null) return storedStop;
  const own = observed.map(({ observation }) => observation).find(({ type }) => type === "stopAsked");
  return stopOf(saved) ?? (own?.type === "stopAsked" ? own.stop : null);
}

/** The execution with the stop that the database put on it. */
export function withStop(execution: Execution, stop: Stop | null): Execution {
  if (stop === null || !isLive(execution) || execution.state === "STOPPING") return execution;
  return apply(execution, { type: "stopping", ...stop });
}
