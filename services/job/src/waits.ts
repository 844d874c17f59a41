/**
 * Steps that wait for a person, a signal or a time: how they begin to, and how that ends by itself. What people decide is in approval.ts,
 * what comes in signal.ts.
 */

import type { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import { durationMs } from "./fieldChecks.ts";
import type { Step } from "./job.ts";
import type { Pass } from "./pass.ts";
import type { PlannedStep } from "./plan.ts";
import { sleepTimeOf } from "./renderStep.ts";
import type { Reached, ReachedAt } from "./stepKinds.ts";

/** The result of a step that somebody has decided about, as expressions read it. */
export interface Decided {
  readonly decision: "APPROVE" | "REJECT";
  readonly note: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** Empty when nobody has decided, and its timeout counts as an approval. */
  readonly by: string;
  /** RFC 3339, UTC. */
  readonly time: string;
}

export function reachApproval({ approval }: StepSpec, { now }: ReachedAt): Reached {
  const message = approval?.message ?? "";
  return { to: "suspended", reason: "APPROVAL", message, dueTime: endOf(approval?.timeout, now) };
}

/** Takes a signal that came before, or waits. */
export function reachSignal({ signal }: StepSpec, { now, step, inbox }: ReachedAt): Reached {
  const name = signal?.name ?? "";
  const kept = inbox.take(name, step.name);
  if (kept !== null) return { to: "succeeded", result: kept.payload };
  return { to: "suspended", reason: "AWAITING_SIGNAL", message: name, dueTime: endOf(signal?.timeout, now) };
}

/** A time that has passed does not wait. */
export function reachSleep({ sleep }: StepSpec, { now, scope }: ReachedAt): Reached {
  if (sleep === undefined) throw new Error("a sleep without one");
  // The scope is opened only for an expression: most have none.
  const time = sleepTimeOf(sleep, now, sleep.expression === "" ? emptyScope : scope());
  if (time <= now) return { to: "succeeded", result: undefined };
  return { to: "suspended", reason: "SLEEPING", message: "", dueTime: time };
}

const emptyScope = { input: null, steps: {}, job: {} };

/** When a wait that begins `now` is over; null for never. */
function endOf(timeout: Duration | undefined, now: Date): Date | null {
  const ms = durationMs(timeout);
  return ms === 0 ? null : new Date(now.getTime() + ms);
}

/** Ends a wait whose time has come: a sleep is over, and of the others their spec says what follows. */
export function timeOut(pass: Pass, { kind, spec }: PlannedStep, step: Step): void {
  if (kind === "sleep") return void pass.move(step, "succeeded", {});
  const why = { reason: "WAIT_TIMEOUT", message: overdueOf(spec) };
  const outcome = spec.approval?.onTimeout ?? spec.signal?.onTimeout;
  if (outcome === "TIMEOUT_OUTCOME_SKIP") return void pass.move(step, "skipped", why);
  if (outcome !== "TIMEOUT_OUTCOME_SUCCEED") return void pass.move(step, "timed_out", why);
  const given: Decided = { decision: "APPROVE", note: "", fields: {}, by: "", time: pass.now.toISOString() };
  pass.move(step, "succeeded", { ...why, result: kind === "approval" ? given : undefined });
}

function overdueOf({ approval, signal }: StepSpec): string {
  const seconds = durationMs(approval?.timeout ?? signal?.timeout) / 1_000;
  return `${approval === undefined ? "no signal has come" : "nobody has decided"} in ${seconds} s`;
}
