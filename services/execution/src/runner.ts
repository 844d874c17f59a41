/**
 * The runner: holds executions under this process's lease and has each driven on its backend to its end. Many come in by one
 * call and are recorded by one statement; what happens to them afterwards goes through one writer (moveWriter.ts).
 */
import { setTimeout as delay } from "node:timers/promises";
import { DomainError } from "@capstan/errors";
import type { Pool } from "@capstan/postgres";
import { spanFor } from "@capstan/service";
import type { Backends } from "./backends.ts";
import { type DriveDeps, driveExecution, type Origin, stopByRunner, stopDriving } from "./driveExecution.ts";
import { type Assignment, assign, type ExecutionState, type Stop } from "./execution.ts";
import { addExecutions } from "./executionStore.ts";
import { type HeldExecution, hold, learnStop } from "./heldExecution.ts";
import type { LogWriter } from "./logWriter.ts";
import { createMoveWriter } from "./moveWriter.ts";
import { createRemover } from "./removeObjects.ts";
import type { RunnerLease } from "./runnerLease.ts";
import { createStartGate, type StartGate } from "./startGate.ts";
import type { TakenOver } from "./takeOverStore.ts";
import type { Wakes } from "./wakes.ts";
import { gateOfWorkers } from "./workerGate.ts";
import type { Workers } from "./workers.ts";

interface RunnerOptions {
  readonly pool: Pool;
  readonly lease: RunnerLease;
  readonly backends: Backends;
  readonly workers: Workers;
  readonly logs: LogWriter;
  readonly wakes: Wakes;
  /** Starts that one container engine is asked for at once. */
  readonly containerStarts: number;
  readonly onStarted: (assignment: Assignment) => void;
  readonly onEnded: (held: HeldExecution) => void;
  readonly log: { warn(fields: object, message: string): void; error(fields: object, message: string): void };
}

/** An execution that was recorded and waits for its turn. */
export interface QueuedExecution {
  readonly assignment: Assignment;
  readonly fence: number;
  /** Since when it waits here; monotonic. */
  readonly sinceMs: number;
}

export interface Runner {
  /** Executions it holds. */
  readonly size: number;
  states(): IterableIterator<ExecutionState>;
  /** True also for one that is being recorded right now. */
  knows(executionId: string): boolean;
  /** Records executions and starts those that are new; gives back their ids. Refuses with UNAVAILABLE without a lease. */
  assign(assignments: readonly Assignment[]): Promise<ReadonlySet<string>>;
  /** The database says that these were asked to stop; what it does not hold it passes by. */
  stop(stops: ReadonlyMap<string, Stop>): void;
  /** Goes on with what another runner held. */
  takeOver(taken: readonly TakenOver[]): void;
  /** Begins what is recorded as this runner's and was never begun. */
  begin(recorded: readonly TakenOver[]): void;
  /** What waits here for a worker. */
  queued(): readonly QueuedExecution[];
  /** Another runner has these by now. */
  letGoOf(executionIds: readonly string[]): void;
  /** The lease is lost: ends what cannot be handed over, and forgets the rest. What has ended may still be saved. */
  letGo(): void;
  /** Resolves when all that was observed is saved. */
  drain(): Promise<void>;
  /**
   * Takes nothing more, ends what cannot be handed over within its grace and `withinMs`, saves everything, and leaves the rest
   * running. Further calls wait for the first.
   */
  shutDown(withinMs: number): Promise<void>;
}

export function createRunner(options: RunnerOptions): Runner {
  const { pool, lease, logs, log } = options;
  const holding = new Map<string, { readonly held: HeldExecution; readonly driven: Promise<void> }>();
  const recording = new Set<ReadonlySet<string>>(); // one set for each call under way
  const gates = new Map<string, StartGate>();
  let shutting: Promise<void> | null = null;

  const remover = createRemover({ openBackend: options.backends.open, concurrency: 8, log });
  const moves = createMoveWriter({
    pool,
    log,
    onStopFound: (held) => stopDriving(held),
    onEnd(held) {
      forget(held);
      options.onEnded(held);
      options.wakes.wake(held.saved.id);
      remover.removeLater(held.assignment);
    },
    onLeaseLost(held) {
      log.warn({ executionId: held.saved.id, fence: held.saved.fence }, "an execution has another holder by now");
      if (held.assignment.kind === "PROCESS") void held.running?.stop(0).catch(() => {});
      drop(held);
    },
  });
  const deps: DriveDeps = { pool, moves, log, openBackend: options.backends.open, gateOf };

  /** Processes are queued by their spawner; a container engine is asked for few starts at once. */
  function gateOf(assignment: Assignment): StartGate {
    const { kind, providerId } = assignment;
    if (kind === "WORKER") return gateOfWorkers(assignment, options.workers);
    const gate = gates.get(providerId) ?? createStartGate(kind === "PROCESS" ? Infinity : options.containerStarts);
    gates.set(providerId, gate);
    return gate;
  }

  function drive(held: HeldExecution, origin: Origin): void {
    const { id } = held.assignment;
    const before = holding.get(id);
    if (before !== undefined) drop(before.held);
    // Set before it is driven, because what it observes first is looked up.
    const { promise, resolve } = Promise.withResolvers<void>();
    holding.set(id, { held, driven: promise });
    void driveExecution(held, origin, deps).then(resolve);
  }

  function forget(held: HeldExecution): void {
    if (held.timer !== null) clearTimeout(held.timer);
    if (holding.get(held.assignment.id)?.held === held) holding.delete(held.assignment.id);
    held.span.end();
  }

  function drop(held: HeldExecution): void {
    held.isOver = true;
    held.stopping.abort();
    forget(held);
  }

  function holdNew(assignment: Assignment, state: "ASSIGNED" | "STARTING"): HeldExecution {
    const execution = assign(assignment.id, state);
    return hold({
      assignment,
      execution,
      log: logs.open(assignment.id, execution.fence),
      span: openSpan(assignment),
      createdAtMs: performance.now(),
      startedAtMs: null,
    });
  }

  function holdTaken({ assignment, execution, ageMs, runningMs }: TakenOver): HeldExecution {
    const nowMs = performance.now();
    return hold({
      assignment,
      execution,
      log: logs.open(assignment.id, execution.fence),
      span: openSpan(assignment),
      createdAtMs: nowMs - ageMs,
      startedAtMs: runningMs === null ? null : nowMs - runningMs,
    });
  }

  async function record(fresh: readonly Assignment[]): Promise<ReadonlySet<string>> {
    const recorded = fresh.map((assignment) => {
      const state = gateOf(assignment).tryEnter() ? ("STARTING" as const) : ("ASSIGNED" as const);
      return { assignment, state };
    });
    let added: ReadonlySet<string> = new Set();
    try {
      added = (await addExecutions(pool, lease.id, recorded)) ?? refuse(notHeld());
    } finally {
      for (const { assignment, state } of recorded) {
        if (state === "STARTING" && !added.has(assignment.id)) gateOf(assignment).leave();
      }
    }
    for (const { assignment, state } of recorded) {
      if (!added.has(assignment.id)) continue;
      options.onStarted(assignment);
      drive(holdNew(assignment, state), state === "STARTING" ? "started" : "queued");
    }
    return added;
  }

  async function shutDown(withinMs: number): Promise<void> {
    const ending = [...holding.values()].filter(({ held }) => held.assignment.kind === "PROCESS");
    for (const { held } of ending) {
      // Leaves time to kill, confirm and save.
      const graceMs = Math.min(held.limits.stopGraceMs, withinMs * 0.75);
      stopByRunner(held, { reason: "LOST", message: "runner shut down" }, moves, graceMs);
    }
    await within(withinMs, Promise.all(ending.map(({ driven }) => driven)));
    for (const { held } of holding.values()) if (held.sealed === null) drop(held);
    await within(withinMs, Promise.all([moves.drain(), logs.flush(), remover.drain()]));
  }

  return {
    get size() {
      return holding.size;
    },
    states: () => holding.values().map(({ held }) => held.saved.state),
    knows: (executionId) => holding.has(executionId) || recording.values().some((ids) => ids.has(executionId)),

    async assign(assignments) {
      if (shutting !== null || !lease.isHeld) throw notHeld();
      const fresh = assignments.filter(({ id }) => !holding.has(id));
      const ids = new Set(fresh.map(({ id }) => id));
      recording.add(ids);
      try {
        return await record(fresh);
      } finally {
        recording.delete(ids);
      }
    },

    stop(stops) {
      for (const [id, stop] of stops) {
        const held = holding.get(id)?.held;
        if (held === undefined || held.storedStop !== null) continue;
        learnStop(held, stop);
        stopDriving(held);
      }
    },

    takeOver(taken) {
      for (const each of taken) drive(holdTaken(each), each.execution.state === "ASSIGNED" ? "queued" : "takenOver");
    },

    begin(recorded) {
      for (const each of recorded) drive(holdTaken(each), "queued");
    },

    queued: () =>
      [...holding.values()].flatMap(({ held: { assignment, saved, heldAtMs, stopping } }) =>
        assignment.kind === "WORKER" && saved.state === "ASSIGNED" && !stopping.signal.aborted
          ? [{ assignment, fence: saved.fence, sinceMs: heldAtMs }]
          : [],
      ),

    letGoOf(executionIds) {
      for (const id of executionIds) {
        const held = holding.get(id)?.held;
        if (held !== undefined) drop(held);
      }
    },

    letGo() {
      for (const { held } of holding.values()) {
        if (held.sealed !== null) continue; // its end is known and may still be in time
        if (held.assignment.kind !== "PROCESS") drop(held);
        else stopByRunner(held, { reason: "LOST", message: "the runner lost its lease" }, moves, lostLeaseGraceMs);
      }
      // Also where nothing ever ran and no backend of theirs is open: they belong to the runner that was.
      options.workers.clear();
      void options.backends.letGo();
    },

    drain: () => moves.drain(),

    shutDown(withinMs) {
      shutting ??= shutDown(withinMs);
      return shutting;
    },
  };
}

// The lease has a third of its time left when it is let go of, 10 s by default.
const lostLeaseGraceMs = 5_000;

function openSpan({ id, jobId, step, attempt, providerName, traceparent }: Assignment) {
  return spanFor("execution", traceparent, {
    "capstan.execution": id,
    "capstan.job": jobId,
    "capstan.step": step,
    "capstan.attempt": attempt,
    "capstan.provider": providerName,
  });
}

function refuse(refusal: DomainError): never {
  throw refusal;
}

function notHeld(): DomainError {
  return new DomainError({
    code: "UNAVAILABLE",
    reason: "RUNNER_NOT_READY",
    message: "this runner takes no executions at the moment",
    retryAfterMs: 1_000,
  });
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  await Promise.race([work, delay(ms, undefined, { ref: false })]);
}
