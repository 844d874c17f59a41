/**
 * What an observation of a workload means for its execution. Pure: the same observation is decided again when it turns out
 * that the database knew of a stop the runner did not, so "already so" is null and never an error.
 */
import type { Exit, HandlerEnd, StartRefusedReason } from "./backends/backend.ts";
import {
  type DelayReason,
  type Ended,
  type EndType,
  type Execution,
  type ExecutionEvent,
  isLive,
  type Stop,
  stopOf,
} from "./execution.ts";
import type { Output } from "./output.ts";

/** What a runner sees of an execution, or decides itself (`stopAsked`: timeouts, shutting down). */
export type Observation =
  | { readonly type: "starting" }
  /** The engine did not answer, for the message to people. */
  | { readonly type: "unreachable"; readonly message: string }
  /** The image has to be fetched first. */
  | { readonly type: "pulling"; readonly image: string }
  | { readonly type: "started"; readonly ref: string; readonly time: Date }
  | { readonly type: "startRefused"; readonly reason: StartRefusedReason; readonly message: string }
  | { readonly type: "stopAsked"; readonly stop: Stop }
  /** It was stopped and was never started, nor will be. */
  | { readonly type: "neverStarted" }
  | {
      readonly type: "exited";
      readonly exit: Exit;
      /** When the backend was asked to stop it, by the runner's clock; null when it was not. */
      readonly stopTime: Date | null;
      readonly output: Output;
      /** Its limit, for the message; 0 is the backend's default. */
      readonly memoryMib: number;
    }
  | { readonly type: "handled"; readonly end: HandlerEnd; readonly stopTime: Date | null }
  /** Nothing of it is left and its end was not seen. */
  | { readonly type: "gone"; readonly message: string };

type Exited = Extract<Observation, { type: "exited" }>;

/** The move that follows from the observation; null when there is none, because the execution is beyond it. */
export function decide(execution: Execution, observation: Observation): ExecutionEvent | null {
  if (!isLive(execution)) return null;
  const stop = stopOf(execution);
  switch (observation.type) {
    case "starting":
      return execution.state === "ASSIGNED" ? { type: "starting" } : null;
    case "unreachable":
      return decideDelay(execution, "PROVIDER_UNREACHABLE", cleanText(observation.message));
    case "pulling":
      return decideDelay(execution, "IMAGE_PULL", cleanText(`the image ${observation.image} is being pulled`));
    case "started":
      return execution.hasStarted ? null : observation;
    case "stopAsked":
      return stop === null ? { type: "stopping", ...observation.stop } : null;
    case "neverStarted":
      return stop === null ? null : endByStop(stop);
    case "startRefused":
      return stop === null ? end("failed", observation.reason, observation.message) : endByStop(stop);
    case "gone":
      return stop === null ? end("lost", "LOST", observation.message) : endByStop(stop);
    case "exited":
      return decideExit(stop, observation);
    case "handled":
      return decideHandled(stop, observation);
  }
}

/** Told once per message, however often it is tried. */
function decideDelay(execution: Execution, reason: DelayReason, message: string): ExecutionEvent | null {
  const isKnown = execution.reason === reason && execution.message === message;
  return execution.state !== "STARTING" || isKnown ? null : { type: "delayed", reason, message };
}

/** Exit code 0 wins over a stop that came too late; otherwise a stop decides; otherwise the exit. */
function decideExit(stop: Stop | null, { exit, stopTime, output, memoryMib }: Exited): Ended {
  const seen = { exitCode: exit.exitCode, signal: exit.signal ?? "", time: exit.endTime };
  const beatTheStop = stop === null || stopTime === null || exit.endTime <= stopTime;
  if (exit.exitCode === 0 && beatTheStop && output.type !== "invalid") {
    const message = exit.outOfMemory ? `a process in it ${describeOutOfMemory(memoryMib)}` : "";
    const result = output.type === "json" ? output.json : null;
    return { ...end("succeeded", "UNSPECIFIED", message), ...seen, result };
  }
  if (stop !== null) return { ...endByStop(stop), ...seen };
  return { ...describeFailure(exit, output, memoryMib), ...seen };
}

/** As with a process: a success wins over a stop that came too late. */
function decideHandled(
  stop: Stop | null,
  { end: handled, stopTime }: Extract<Observation, { type: "handled" }>,
): Ended {
  const { outcome, result, message, endTime: time } = handled;
  const beatTheStop = stop === null || stopTime === null || time <= stopTime;
  if (outcome === "SUCCEEDED" && beatTheStop) return { ...end("succeeded", "UNSPECIFIED", ""), result, time };
  if (stop !== null) return { ...endByStop(stop), time };
  if (outcome === "NON_RETRYABLE") return { ...end("failed", "NON_RETRYABLE", message), time };
  return { ...end("failed", "HANDLER_FAILED", message), time };
}

function describeFailure(exit: Exit, output: Output, memoryMib: number): Ended {
  if (exit.exitCode === 0 && output.type === "invalid") {
    return end("failed", "RESULT_INVALID", `the CAPSTAN_OUTPUT line cannot be used: ${output.problem}`);
  }
  if (exit.outOfMemory) return end("failed", "OUT_OF_MEMORY", describeOutOfMemory(memoryMib));
  if (exit.signal !== null) return end("failed", "SIGNAL", `killed by ${exit.signal}`);
  return end("failed", "EXIT_CODE", `exit code ${exit.exitCode ?? "unknown"}`);
}

function describeOutOfMemory(memoryMib: number): string {
  return memoryMib > 0 ? `went over its memory limit of ${memoryMib} MiB` : "went over its memory limit";
}

const endOfStop = {
  CANCELLED_BY_USER: "cancelled",
  OPERATOR: "cancelled",
  JOB_TIMEOUT: "timedOut",
  START_TIMEOUT: "timedOut",
  RUN_TIMEOUT: "timedOut",
  LOST: "lost",
} as const satisfies Record<Stop["reason"], EndType>;

function endByStop({ reason, message }: Stop): Ended {
  return end(endOfStop[reason], reason, message);
}

function end(type: EndType, reason: Ended["reason"], message: string): Ended {
  return { type, reason, message: cleanText(message), exitCode: null, signal: "", result: null, time: null };
}

const maxMessageLength = 2_000;

/** Engines say what they like; Postgres takes all text but NUL. */
function cleanText(text: string): string {
  return text.replaceAll("\0", "").slice(0, maxMessageLength);
}
