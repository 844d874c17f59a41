/** What becomes of a signal to a job. */
import { DomainError, type FieldViolation, invalid } from "@capstan/errors";
import type { SendSignalRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { checkLine } from "./fieldChecks.ts";
import { checkJson, handlerName, maxInputBytes } from "./handlerSpec.ts";
import { isJobTerminal, isStepTerminal, type Job, type Step } from "./job.ts";
import { type Flow, openPass, type Pass, type Passed } from "./pass.ts";
import type { PlannedStep } from "./plan.ts";
import { settle } from "./promote.ts";
import { isTemplate } from "./stepSpec.ts";

/** Of signals of a job that no step has taken yet. */
export const maxKeptSignals = 100;

/** Refuses what can be no signal, with every bad field. */
export function checkSignal({ name, payload, requestId }: SendSignalRequest): void {
  const violations: FieldViolation[] = [];
  const refuse = (field: string, description: string) => violations.push({ field, description });
  if (name === "") refuse("name", "is required");
  else if (!handlerName.test(name)) refuse("name", `must match ${handlerName.source}`);
  checkJson(payload, "payload", maxInputBytes, refuse);
  checkLine(requestId, "request_id", 64, refuse);
  if (violations.length > 0) throw invalid(violations);
}

/**
 * Gives the kept signals of this name to the steps that wait for it, those reached first before the others; what is left is kept. Refuses
 * when no step of the job can ever wait for it, or too many are kept. Null if nobody takes one.
 */
export function deliverSignal(
  job: Job,
  name: string,
  flow: Flow | null,
  now: Date,
  causationId: string,
): Passed | null {
  if (isJobTerminal(job.state)) throw refusal(job, "JOB_HAS_ENDED", `is ${job.state}; it takes no more signals`);
  if (flow === null) throw refusal(job, "SIGNAL_UNKNOWN", "has no step that waits for a signal");
  const pass = openPass(job, flow, now);
  pass.causationId = causationId;
  assertAwaited(pass, name);
  const waiting = pass.waiting("AWAITING_SIGNAL").filter((step) => nameOf(step) === name);
  for (const step of waiting.sort((a, b) => (a.startTime?.getTime() ?? 0) - (b.startTime?.getTime() ?? 0))) {
    const kept = flow.inbox.take(name, step.name);
    if (kept === null) break;
    pass.move(step, "succeeded", { result: kept.payload });
  }
  if (flow.inbox.size() > maxKeptSignals) {
    throw new DomainError({
      code: "RESOURCE_EXHAUSTED",
      reason: "TOO_MANY_SIGNALS",
      message: `job ${job.id} keeps ${maxKeptSignals} signals that no step has taken yet; that is the limit`,
      metadata: { jobId: job.id, limit: String(maxKeptSignals) },
    });
  }
  settle(pass);
  return pass.close();
}

/** The same request id with another signal. */
export function reusedRequestId(jobId: string, name: string): DomainError {
  return new DomainError({
    code: "ALREADY_EXISTS",
    reason: "REQUEST_ID_REUSED",
    message: `signal ${name} was sent to job ${jobId} with the same request_id`,
    fields: [{ field: "request_id", description: "was used with another signal" }],
    metadata: { jobId },
  });
}

function assertAwaited(pass: Pass, name: string): void {
  const signals = [...pass.flow.plan.steps.values()].filter(({ kind }) => kind === "signal");
  const mayWait = signals.filter((planned) => !isStepTerminal(pass.step(planned.name).state));
  if (mayWait.some((planned) => mayBeNamed(pass, planned, name))) return;
  const names = signals.map(({ spec }) => spec.signal?.name ?? "");
  const known = [...new Set(names)].slice(0, 20).map(shownName).join(", ");
  const why = signals.length === 0 ? "has no step that waits for a signal" : `waits, or has waited, for: ${known}`;
  const isOver = mayWait.length < signals.length && names.some((each) => each === name);
  throw refusal(
    pass.before,
    "SIGNAL_UNKNOWN",
    isOver ? `no longer waits for signal ${name}` : `never waits for signal ${name}; it ${why}`,
  );
}

function shownName(name: string): string {
  return name.length > 80 ? `${name.slice(0, 79)}…` : name;
}

/** What its expressions will make of a name is known when the step is reached. */
function mayBeNamed(pass: Pass, planned: PlannedStep, name: string): boolean {
  const { state } = pass.step(planned.name);
  if (state === "SUSPENDED") return nameOf(pass.step(planned.name)) === name;
  const written = planned.spec.signal?.name ?? "";
  return written === name || isTemplate(written);
}

/** A step that waits says for what, expressions filled in. */
function nameOf({ message }: Step): string {
  return message;
}

function refusal({ id }: Job, reason: string, problem: string): DomainError {
  return new DomainError({
    code: "FAILED_PRECONDITION",
    reason,
    message: `job ${id} ${problem}`,
    metadata: { jobId: id },
  });
}
