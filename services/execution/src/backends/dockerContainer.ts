/**
 * Follows a container to its end, through broken connections and restarts of its engine.
 *
 * Output comes from the attached stream, which holds the workload back when we are slow. When that breaks, the engine's log is
 * read from its beginning without what was delivered already; the log ends an unfinished last line with a newline, the only
 * byte that may come too much.
 */

import { setTimeout as delay } from "node:timers/promises";
import type { Container, ContainerInspectInfo } from "dockerode";
import { BackendLost, BackendUnavailable, type Exit, type OutputSink, type Running, StartRefused } from "./backend.ts";
import { callEngine, callUnless, EngineRefused } from "./dockerEngine.ts";
import { type ByteCounts, deliverOutput } from "./dockerOutput.ts";

const MAX_PAUSE_MS = 2_000;
/** Exits an engine causes, or makes up, when it goes away under a container. */
const EXITS_BY_ENGINE = [137, 143, 255];
const KILLED = 137;
/** Between the end of a container that is removed by force and its being gone. */
const REMOVAL_MS = 300;

type Output = AsyncIterable<Buffer>;

export interface FollowOptions {
  readonly container: Container;
  readonly startTime: Date;
  readonly sink: OutputSink;
  /** Live output since the start; null to begin with the log. */
  readonly attached: Output | null;
  /** Bytes the sink needs no more. */
  readonly stored: Readonly<ByteCounts>;
  /** Aborted when the backend lets go; then nothing is told any more. */
  readonly signal: AbortSignal;
}

export interface Followed extends Running {
  /** Its engine says that it has ended: reads no further from a connection that has brought nothing since the last call; true if there was one. */
  lookAgain(): boolean;
}

/** What is being read, and how much had come when that was last looked at. */
interface Reading {
  source: Output | null;
  readonly delivered: ByteCounts;
  bytesSeen: number | null;
}

/** Follows a container that was started. */
export function followContainer(options: FollowOptions): Followed {
  const { container, startTime, signal } = options;
  const asked = { toStop: false };
  const reading: Reading = { source: null, delivered: { ...options.stored }, bytesSeen: null };
  const exited = watch(options, asked, reading);
  exited.catch(() => {}); // whoever waits for it is told; nobody has to
  return {
    ref: container.id,
    startTime,
    exited,
    lookAgain: () => giveUpSilence(reading),
    stop: async (graceMs) => {
      asked.toStop = true;
      const over = new AbortController();
      const end = () => over.abort();
      const ended = exited.then(end, end);
      const stopped = AbortSignal.any([over.signal, signal]);
      if (graceMs > 0) await sendSignal(container, "SIGTERM", stopped);
      await delay(graceMs, undefined, { signal: stopped }).catch(() => {});
      await sendSignal(container, "SIGKILL", stopped);
      await ended;
    },
  };
}

function giveUpSilence(reading: Reading): boolean {
  const { source, delivered, bytesSeen } = reading;
  reading.bytesSeen = delivered.stdout + delivered.stderr;
  if (source === null || bytesSeen !== reading.bytesSeen) return false;
  destroy(source);
  return true;
}

async function watch(options: FollowOptions, asked: { readonly toStop: boolean }, reading: Reading): Promise<Exit> {
  const { container, startTime, attached, signal } = options;
  const { delivered } = reading;
  const { sink, first } = rememberFirstError(options.sink);
  let wasAway = false;
  for (let round = 0; ; round++) {
    const source = round === 0 ? attached : await openLog(container, signal);
    const skipped = round === 0 ? { stdout: 0, stderr: 0 } : { ...delivered };
    reading.source = source;
    reading.bytesSeen = null;
    const isWhole = source !== null && (await deliverOutput(source, sink, delivered, skipped));
    reading.source = null;
    const { state, missed } = await inspectInTheEnd(container, signal);
    if (state === null) throw new BackendLost("its container was removed");
    wasAway ||= missed > 0;
    if (isWhole && missed === 0 && !state.Running) {
      if (wasAway && !asked.toStop && EXITS_BY_ENGINE.includes(state.ExitCode)) {
        throw new BackendLost(`its container ended with ${state.ExitCode} while its engine was away`);
      }
      const isUnexplained = state.ExitCode === KILLED && !state.OOMKilled && !asked.toStop;
      const ended = isUnexplained ? await explainKill(container, signal) : state;
      if (delivered.stdout === 0) refuseIfNeverExecuted(ended.ExitCode, first());
      return exitOf(ended, startTime);
    }
    if (round > 0) await pause(50 * 2 ** round, signal);
  }
}

function exitOf({ ExitCode, OOMKilled, FinishedAt }: ContainerInspectInfo["State"], startTime: Date): Exit {
  const finished = new Date(FinishedAt).getTime(); // year 1 when the engine does not know
  return {
    exitCode: ExitCode,
    signal: null,
    outOfMemory: OOMKilled,
    endTime: finished > 0 ? new Date(Math.max(finished, startTime.getTime())) : new Date(),
  };
}

/** The engine's init always starts; that the command does not is told only by its one line on stderr. */
function refuseIfNeverExecuted(exitCode: number, firstError: string): void {
  const [, command, why] = /^\[FATAL tini \(\d+\)\] exec (.*) failed: (.*)\n?$/.exec(firstError) ?? [];
  if (command === undefined) return;
  if (exitCode === 127)
    throw new StartRefused("COMMAND_NOT_FOUND", `the command ${command} was not found in the image`);
  if (exitCode === 126)
    throw new StartRefused("PERMISSION_DENIED", `the command ${command} may not be executed: ${why}`);
}

function rememberFirstError(sink: OutputSink): { readonly sink: OutputSink; first(): string } {
  let text = "";
  return {
    first: () => text,
    sink: {
      write: (stream, bytes) => {
        if (stream === "stderr" && text.length < 512) text += Buffer.from(bytes.subarray(0, 512)).toString();
        return sink.write(stream, bytes);
      },
    },
  };
}

/** The whole log, followed to the container's end; null when it cannot be had now. */
async function openLog(container: Container, signal: AbortSignal): Promise<Output | null> {
  try {
    const log = await callEngine((abortSignal) =>
      container.logs({ follow: true, stdout: true, stderr: true, abortSignal }),
    );
    const output = log as unknown as Output;
    signal.addEventListener("abort", () => destroy(output), { once: true });
    return output;
  } catch (error) {
    // A log that cannot be read is lost; the exit is not.
    return error instanceof EngineRefused && error.status >= 500 ? nothing() : null;
  }
}

async function* nothing(): Output {}

/** The client's streams are Node's, whatever it calls them. */
function destroy(output: Output): void {
  (output as Output & { destroy?(): void }).destroy?.();
}

/** Asks until the engine answers, and tells how often it did not. Null: there is no such container. */
async function inspectInTheEnd(
  container: Container,
  signal: AbortSignal,
): Promise<{ readonly state: ContainerInspectInfo["State"] | null; readonly missed: number }> {
  for (let missed = 0; ; missed++) {
    try {
      const found = await callUnless([404], (abortSignal) => container.inspect({ abortSignal }));
      if (!signal.aborted) return { state: found?.State ?? null, missed };
    } catch {
      // Away, or starting again.
    }
    await pause(100 * 2 ** missed, signal);
  }
}

/**
 * The state of a killed container a little later. Whoever removes one by force kills it first, so that its end may be seen before it is
 * gone; and that memory ran out comes to the engine as an event of its own, on a busy machine after that of the end.
 */
async function explainKill(container: Container, signal: AbortSignal): Promise<ContainerInspectInfo["State"]> {
  await pause(REMOVAL_MS, signal);
  const { state } = await inspectInTheEnd(container, signal);
  if (state === null || state.Dead || state.Status === "removing") throw new BackendLost("its container was removed");
  return state;
}

/** Sends a signal, again and again while the engine is away; a container that is not there or has ended is fine. */
async function sendSignal(container: Container, name: NodeJS.Signals, stopped: AbortSignal): Promise<void> {
  for (let missed = 0; !stopped.aborted; missed++) {
    try {
      await callUnless([404, 409], (abortSignal) => container.kill({ signal: name, abortSignal }));
      return;
    } catch (error) {
      if (!(error instanceof BackendUnavailable || error instanceof EngineRefused)) throw error;
      await delay(Math.min(100 * 2 ** missed, MAX_PAUSE_MS), undefined, { signal: stopped }).catch(() => {});
    }
  }
}

/** Waits; for ever, when the backend has let go. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await delay(Math.min(ms, MAX_PAUSE_MS), undefined, { signal }).catch(() => {});
  if (signal.aborted) await new Promise(() => {});
}
