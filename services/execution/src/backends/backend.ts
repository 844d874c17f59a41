/**
 * The port every place that runs workloads is driven through. One conformance suite (conformance.ts) holds all backends to it.
 *
 * An object (process group, container) belongs to exactly one execution and is found again by the execution's id alone. A
 * backend never decides what an exit means, never retries a workload, and never starts an object that has already exited.
 */

import type { LabelConstraint } from "@capstan/labels";
import type { Stop } from "../execution.ts";

/** Which of the workload's two streams a piece of output came from. */
export type OutputStream = "stdout" | "stderr";

/** Everything a backend may know of an execution; the runner builds it field by field, never from a user's object. */
export interface Workload {
  /** UUID. The object is named `capstan-<execution id>`. */
  readonly executionId: string;
  readonly jobId: string;
  /** From 1. */
  readonly attempt: number;
  readonly tenant: string;
  /** The lease's fencing number, handed to the workload as `CAPSTAN_FENCE`. */
  readonly fence: number;
  /** argv, never read by a shell. Empty: the image's own entry point and command (containers only). With a script: its arguments. */
  readonly command: readonly string[];
  /** Run as the interpreter's argv, the script, then `command`. An empty interpreter means `/bin/sh`. */
  readonly script: { readonly interpreter: readonly string[]; readonly content: string } | null;
  /** Null where the backend has no images. */
  readonly image: string | null;
  /** The user's variables. The backend adds at least PATH and HOME beneath them and CAPSTAN_* above them. */
  readonly env: Readonly<Record<string, string>>;
  /** Absolute and existing. Null: the backend's own (processes: a fresh directory, removed at the end; containers: the image's). */
  readonly workingDirectory: string | null;
  /** Null: the workload reads end of file at once. */
  readonly stdin: Uint8Array | null;
  /** Thousandths of a core; 0 is the backend's default. Not enforced on processes. */
  readonly cpuMillis: number;
  /** MiB; 0 is the backend's default. Not enforced on processes. */
  readonly memoryMib: number;
  /** `NONE` is loopback only. Not enforced on processes, which share the host's network. */
  readonly network: "NONE" | "BRIDGE";
  /** What a worker runs in place of a command; null elsewhere. */
  readonly handler: HandlerCall | null;
}

/** A call of a user's handler. */
export interface HandlerCall {
  /** The pool that was chosen. */
  readonly pool: string;
  readonly name: string;
  /** Any JSON value; undefined if none was given. */
  readonly input: unknown;
  /** Must hold for the labels of the worker that runs it. */
  readonly constraints: readonly LabelConstraint[];
  readonly step: string;
  /** W3C; null when nobody traces. */
  readonly traceparent: string | null;
}

/** How a workload ended. */
export interface Exit {
  /** Null when a signal ended it and the backend can tell; containers say 128 + signal, as their engine does. */
  readonly exitCode: number | null;
  /** `SIGKILL` and the like; null when it exited by itself or the backend cannot tell. */
  readonly signal: string | null;
  /** True when the memory limit killed something in it, even if the workload went on to exit with 0. */
  readonly outOfMemory: boolean;
  /** By the clock of the machine it ran on. */
  readonly endTime: Date;
}

/** An end in the words of any backend. */
export type AnyEnd = Exit | HandlerEnd;

/** How a handler ended. */
export interface HandlerEnd {
  /** STOPPED: it ended, or was given up, after it was asked to stop. */
  readonly outcome: "SUCCEEDED" | "FAILED" | "NON_RETRYABLE" | "STOPPED";
  /** JSON text of what it returned; null when it returned nothing. */
  readonly result: string | null;
  /** What went wrong; empty when nothing did. */
  readonly message: string;
  /** By the worker's clock. */
  readonly endTime: Date;
}

/** Where output goes. One call at a time per execution; a returned promise holds the next call back, and so the workload. */
export interface OutputSink {
  /** `bytes` belongs to the sink from then on. A sink that fails loses what it was given, never the workload. */
  write(stream: OutputStream, bytes: Uint8Array): void | Promise<void>;
}

/** An execution's object that runs, or ran and is not removed yet. */
export interface Running<E = Exit> {
  /** What an operator looks for: `pid:<pid>`, in the spawner's pid namespace where it has one, or a container id. */
  readonly ref: string;
  readonly startTime: Date;
  /**
   * Resolves when the workload has ended, all its output went to the sink, and nothing of it is left alive. Rejects only with
   * {@link BackendLost} (the object is gone without having told its end) or {@link StartRefused} (the object started, but its
   * command could never be executed; only containers learn that so late).
   */
  readonly exited: Promise<E>;
  /** Asks (SIGTERM), waits `graceMs`, kills, and resolves when the end is confirmed. May be called again. A handler is told why. */
  stop(graceMs: number, why?: Stop): Promise<void>;
}

/** Output bytes that are already stored, per stream; an adopted object's output goes on after them. */
export type StoredBytes = Readonly<Record<OutputStream, number>>;

/** What a place has. */
export interface Listing {
  /** Of all our objects, running or not, whoever started them. */
  readonly executionIds: readonly string[];
  /**
   * Compares what was followed before with what was found, and looks again at what has ended or is gone without a word; gives back
   * which. It takes two listings to tell that nothing comes any more. Only where there is a connection that may be dead and not know it.
   */
  lookAgain?(): readonly string[];
}

/** One place that runs workloads; `E` is what it knows of their ends. */
export interface Backend<E = Exit> {
  /** Throws {@link BackendUnavailable} when the place is not reachable. */
  probe(signal: AbortSignal): Promise<{ readonly version: string }>;
  /**
   * Starts the workload, or gives back what already runs (or has exited) under its execution id. Throws {@link StartRefused}
   * when it can never start, {@link BackendUnavailable} when it is unknown or sure not to have started: call again. `stopping`
   * aborts when it is to be stopped: who would wait for long for it to begin gives it back then. `onPull` is called when an image has to
   * be fetched first.
   */
  start(
    workload: Workload,
    sink: OutputSink,
    stopping?: AbortSignal,
    onPull?: (image: string) => void,
  ): Promise<Running<E>>;
  /** Takes over what still runs, or has exited and is not removed; null when there is nothing (left). */
  adopt(executionId: string, sink: OutputSink, stored: StoredBytes): Promise<Running<E> | null>;
  list(): Promise<Listing>;
  /** Kills and removes whatever there is; absent is fine. Called after the end is committed, and to reap. */
  remove(executionId: string): Promise<void>;
  /** Lets go. What can outlive its runner (containers) goes on and tells nothing any more; what cannot (processes) is killed. */
  close(): Promise<void>;
}

/** Why a workload can never start; the same words as in the execution's reason. */
export type StartRefusedReason =
  | "IMAGE_NOT_FOUND"
  | "IMAGE_PULL_FAILED"
  | "COMMAND_NOT_FOUND"
  | "PERMISSION_DENIED"
  | "BAD_WORKING_DIRECTORY"
  | "START_FAILED";

/** The workload itself is at fault; trying again changes nothing. The message is for its user. */
export class StartRefused extends Error {
  override readonly name = "StartRefused";
  readonly reason: StartRefusedReason;

  constructor(reason: StartRefusedReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** The place did not answer. Whether the call took effect is unknown; every call may be repeated. */
export class BackendUnavailable extends Error {
  override readonly name = "BackendUnavailable";
}

/** The object is gone and its end was not seen: the execution is LOST, whatever it did. */
export class BackendLost extends Error {
  override readonly name = "BackendLost";
}

/** The name of an execution's object. */
export function objectName(executionId: string): string {
  return `capstan-${executionId}`;
}

/** What a workload finds in its environment: `defaults`, then the user's variables, then ours, which nobody can replace. */
export function workloadEnvironment(
  workload: Workload,
  defaults: Readonly<Record<string, string>>,
): Record<string, string> {
  const environment: Record<string, string> = Object.create(null); // `__proto__` is a name like any other
  const ours = {
    CAPSTAN_JOB_ID: workload.jobId,
    CAPSTAN_EXECUTION_ID: workload.executionId,
    CAPSTAN_ATTEMPT: String(workload.attempt),
    CAPSTAN_FENCE: String(workload.fence),
  };
  for (const layer of [defaults, workload.env, ours]) {
    for (const [name, value] of Object.entries(layer)) environment[name] = value;
  }
  return environment;
}
