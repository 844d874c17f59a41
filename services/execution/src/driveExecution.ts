/**
 * The life of one execution on its backend: started or adopted, watched, stopped when that is asked for, and its end observed.
 * What it sees it tells the move writer; it decides nothing and writes nothing itself.
 *
 * At most one start per execution: a start is asked for only from STARTING as this runner recorded it, and repeated only while
 * the engine does not answer (the backend recognises its own object).
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Pool } from "@capstan/postgres";
import { type AnyEnd, type Backend, BackendLost, type Running, StartRefused } from "./backends/backend.ts";
import type { Assignment, Stop } from "./execution.ts";
import { toWorkload } from "./executionProto.ts";
import { type HeldExecution, knownStop } from "./heldExecution.ts";
import { listChunks } from "./logStore.ts";
import type { MoveWriter } from "./moveWriter.ts";
import type { StartGate } from "./startGate.ts";
import type { Observation } from "./verdict.ts";

export interface DriveDeps {
  readonly pool: Pool;
  readonly moves: MoveWriter;
  readonly openBackend: (assignment: Pick<Assignment, "kind" | "endpoint">) => Promise<Backend<AnyEnd>>;
  readonly gateOf: (assignment: Assignment) => StartGate;
  readonly log: { warn(fields: object, message: string): void; error(fields: object, message: string): void };
}

/** How its runner came to hold it: to start it (with or without having passed the gate), or to look what is there. */
export type Origin = "started" | "queued" | "takenOver";

/** Resolves when its end was observed. Never rejects: a defect of ours ends the execution as lost. */
export async function driveExecution(held: HeldExecution, origin: Origin, deps: DriveDeps): Promise<void> {
  try {
    armTimer(held, deps.moves);
    const running = origin === "takenOver" ? await adopt(held, deps) : await start(held, origin, deps);
    if (running !== null) await watch(held, running, deps);
  } catch (error) {
    deps.log.error({ err: error, executionId: held.saved.id }, "an execution could not be driven");
    deps.moves.observe(held, { type: "starting" }); // nothing is lost before it was to be started
    await finish(held, { type: "gone", message: "the runner failed" }, deps.moves);
  }
}

/** Has the backend stop it once it runs. Known stops only: from the database, or one that was observed before. */
export function stopDriving(held: HeldExecution, graceMs: number = held.limits.stopGraceMs): void {
  held.stopping.abort();
  if (held.timer !== null) clearTimeout(held.timer);
  if (held.running !== null) void stopInTheEnd(held, held.running, graceMs);
}

/** Stops it for a reason of this runner's own. */
export function stopByRunner(held: HeldExecution, stop: Stop, moves: MoveWriter, graceMs?: number): void {
  moves.observe(held, { type: "stopAsked", stop });
  stopDriving(held, graceMs);
}

async function start(held: HeldExecution, origin: Origin, deps: DriveDeps): Promise<Running<AnyEnd> | null> {
  const gate = deps.gateOf(held.assignment);
  if (origin === "queued" && !(await gate.enter(held.stopping.signal))) return neverStarted(held, deps);
  try {
    if (held.saved.state === "ASSIGNED") {
      // The intent is on record before the act, so that nobody repeats the act.
      deps.moves.observe(held, { type: "starting" });
      await deps.moves.settled(held);
    }
    return await askToStart(held, gate, deps);
  } finally {
    gate.leave();
  }
}

async function askToStart(held: HeldExecution, gate: StartGate, deps: DriveDeps): Promise<Running<AnyEnd> | null> {
  const { signal } = held.stopping;
  const workload = toWorkload(held.assignment, held.saved.fence);
  for (let pauseMs = 100; !signal.aborted && !held.isOver; pauseMs = Math.min(pauseMs * 2, 5_000)) {
    try {
      const backend = await deps.openBackend(held.assignment);
      const onPull = (image: string) => deps.moves.observe(held, { type: "pulling", image });
      return await backend.start(workload, held.sink, signal, onPull);
    } catch (error) {
      if (error instanceof StartRefused) {
        return finish(held, { type: "startRefused", reason: error.reason, message: error.message }, deps.moves);
      }
      // Also what no backend should throw: whether it took effect is not known, so it counts as no answer.
      deps.moves.observe(held, { type: "unreachable", message: messageOf(error) });
      // What was to go to a worker that is gone waits for the next in its turn; all else asks again and again.
      if (held.assignment.kind === "WORKER") await enterAgain(gate, signal);
      else await pause(pauseMs, signal);
    }
  }
  return neverStarted(held, deps);
}

async function enterAgain(gate: StartGate, signal: AbortSignal): Promise<void> {
  gate.leave();
  await gate.enter(signal);
}

async function neverStarted(held: HeldExecution, { moves }: DriveDeps): Promise<null> {
  return finish(held, { type: "neverStarted" }, moves);
}

/** Looks for what another runner started. An engine that does not answer is asked again for as long as it takes. */
async function adopt(held: HeldExecution, deps: DriveDeps): Promise<Running<AnyEnd> | null> {
  await untilAnswered(held, () => restoreLog(held, deps.pool));
  const stored = { stdout: held.log.storedBytes("stdout"), stderr: held.log.storedBytes("stderr") };
  const running = await untilAnswered(held, async () => {
    const backend = await deps.openBackend(held.assignment);
    return backend.adopt(held.saved.id, held.sink, stored);
  });
  if (running !== null || held.isOver) return running;
  return finish(held, { type: "gone", message: "its runner was lost, and it with it" }, deps.moves);
}

async function untilAnswered<T>(held: HeldExecution, ask: () => Promise<T>): Promise<T | null> {
  for (let pauseMs = 100; !held.isOver; pauseMs = Math.min(pauseMs * 2, 5_000)) {
    try {
      return await ask();
    } catch {
      await delay(pauseMs);
    }
  }
  return null;
}

const restorePage = 64;

/** Counts what is stored already, so that offsets, lines and the checksum go on, and finds a result that was given before. */
async function restoreLog(held: HeldExecution, pool: Pool): Promise<void> {
  for (;;) {
    const chunks = await listChunks(pool, held.saved.id, held.log.lastSequence(), restorePage);
    for (const chunk of chunks) {
      held.log.restore(chunk);
      if (chunk.stream === "stdout") held.output.push(chunk.data);
    }
    if (chunks.length < restorePage) return;
  }
}

async function watch(held: HeldExecution, running: Running<AnyEnd>, deps: DriveDeps): Promise<void> {
  held.running = running;
  held.startedAtMs ??= performance.now();
  deps.moves.observe(held, { type: "started", ref: running.ref, time: running.startTime });
  if (held.stopping.signal.aborted) void stopInTheEnd(held, running, held.limits.stopGraceMs);
  else armTimer(held, deps.moves);
  await finish(held, await observeEnd(held, running, deps), deps.moves);
}

async function observeEnd(held: HeldExecution, running: Running<AnyEnd>, { log }: DriveDeps): Promise<Observation> {
  try {
    const exit = await running.exited;
    if ("outcome" in exit) return { type: "handled", end: exit, stopTime: held.stopTime };
    const memoryMib = held.assignment.spec.resources?.memoryMib ?? 0;
    return { type: "exited", exit, stopTime: held.stopTime, output: held.output.read(), memoryMib };
  } catch (error) {
    // With an init in the container the engine learns only after the start that there is no such program.
    if (error instanceof StartRefused) return { type: "startRefused", reason: error.reason, message: error.message };
    if (!(error instanceof BackendLost)) log.warn({ err: error, executionId: held.saved.id }, "an end was not told");
    return { type: "gone", message: messageOf(error) };
  }
}

/** Seals the log and tells the end. */
async function finish(held: HeldExecution, observation: Observation, moves: MoveWriter): Promise<null> {
  if (held.timer !== null) clearTimeout(held.timer);
  held.sealed = await held.log.close(observation.type === "gone");
  moves.observe(held, observation);
  return null;
}

async function stopInTheEnd(held: HeldExecution, running: Running<AnyEnd>, graceMs: number): Promise<void> {
  held.stopTime ??= new Date();
  for (let pauseMs = 200; held.sealed === null && !held.isOver; pauseMs = Math.min(pauseMs * 2, 5_000)) {
    try {
      return await running.stop(graceMs, knownStop(held) ?? undefined);
    } catch {
      await delay(pauseMs);
    }
  }
}

// A timer of Node holds at most 24.8 days and fires at once beyond; this one is only a hint and looks at the clock again.
const longestTimerMs = 60_000;

function armTimer(held: HeldExecution, moves: MoveWriter): void {
  if (held.timer !== null) clearTimeout(held.timer);
  held.timer = null;
  const dueMs = dueTime(held);
  if (held.stopping.signal.aborted || dueMs === Number.POSITIVE_INFINITY) return;
  const leftMs = Math.max(0, Math.min(dueMs - performance.now(), longestTimerMs));
  held.timer = setTimeout(() => {
    if (performance.now() < dueMs) armTimer(held, moves);
    else stopByRunner(held, timeoutOf(held), moves);
  }, leftMs);
}

function dueTime({ startedAtMs, createdAtMs, limits }: HeldExecution): number {
  return startedAtMs === null ? createdAtMs + limits.startTimeoutMs : startedAtMs + limits.runTimeoutMs;
}

function timeoutOf({ startedAtMs, limits, saved }: HeldExecution): Stop {
  if (startedAtMs !== null) {
    return { reason: "RUN_TIMEOUT", message: `ran longer than ${limits.runTimeoutMs / 1_000} s` };
  }
  const why = saved.reason === "PROVIDER_UNREACHABLE" ? `: ${saved.message}` : "";
  return { reason: "START_TIMEOUT", message: `did not start within ${limits.startTimeoutMs / 1_000} s${why}` };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {}); // woken early is what the signal is for
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
