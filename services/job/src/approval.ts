/** What people decide about the steps that wait for them. */
import { DomainError, type FieldViolation, invalid, notFound } from "@capstan/errors";
import type { DecideApprovalRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { checkLine, checkText } from "./fieldChecks.ts";
import { checkJson } from "./handlerSpec.ts";
import { isJobTerminal, type Job, type Step, unread } from "./job.ts";
import { type Flow, openPass, type Pass, type Passed } from "./pass.ts";
import { settle } from "./promote.ts";
import type { Decided } from "./waits.ts";

const maxNoteLength = 1_024;
const maxByLength = 128;
export const maxFieldsBytes = 64 * 1024;

/** What somebody says of a step. */
export interface Said extends Omit<Decided, "time"> {
  readonly step: string;
}

/** A request that was checked. Refuses with every bad field. */
export function saidOf({ step, decision, note, fields, by }: DecideApprovalRequest): Said {
  const violations: FieldViolation[] = [];
  const refuse = (field: string, description: string) => violations.push({ field, description });
  checkLine(step, "step", 128, refuse, { required: true });
  const isApproved = decision === "APPROVAL_DECISION_APPROVE";
  if (!isApproved && decision !== "APPROVAL_DECISION_REJECT") {
    refuse("decision", "must be APPROVAL_DECISION_APPROVE or APPROVAL_DECISION_REJECT");
  }
  checkText(note, "note", maxNoteLength, refuse);
  checkLine(by, "by", maxByLength, refuse, { required: true });
  checkJson(fields, "fields", maxFieldsBytes, refuse);
  if (violations.length > 0) throw invalid(violations);
  return { step, decision: isApproved ? "APPROVE" : "REJECT", note, fields: fields ?? {}, by };
}

/**
 * Ends the wait of a step. Null if the same person has decided the same before; refuses when somebody has decided otherwise, and a step
 * that does not wait for a decision.
 */
export function decideApproval(job: Job, said: Said, flow: Flow | null, now: Date, causationId: string): Passed | null {
  const { step: name, ...told } = said;
  const step = job.steps.find((candidate) => candidate.name === name);
  if (step === undefined) throw notFound("step", name.slice(0, 128));
  if (flow === null) throw refusal(job, step, "waits for no decision");
  const pass = openPass(job, flow, now);
  pass.causationId = causationId;
  if (pass.plannedOf(step).kind !== "approval") throw refusal(job, step, "waits for no decision");
  if (step.state !== "SUSPENDED") return repeated(pass, step, said);
  if (isJobTerminal(job.state)) throw refusal(job, step, "belongs to a job that has ended");
  const result: Decided = { ...told, time: now.toISOString() };
  if (said.decision === "APPROVE") pass.move(step, "succeeded", { result });
  else pass.move(step, "failed", { reason: "REJECTED", message: rejection(said), result });
  settle(pass);
  return pass.close();
}

function rejection({ by, note }: Said): string {
  return `rejected by ${by}${note === "" ? "" : `: ${note}`}`;
}

function repeated(pass: Pass, step: Step, { decision, by }: Said): null {
  const before = pass.flow.results.of(step) as Decided | null | undefined;
  // Not read yet: whatever is decided now is decided again.
  if (before === undefined && step.result === unread) return null;
  // What was timed out, cancelled or skipped has no decision, or one of nobody.
  if (before === undefined || before === null || before.by === "") {
    const hasCome = step.state === "BLOCKED" ? "not yet " : "not ";
    throw refusal(pass.before, step, `is ${step.state}; it does ${hasCome}wait for a decision`);
  }
  if (before.by === by && before.decision === decision) return null;
  const words = { APPROVE: "approved", REJECT: "rejected" } as const;
  throw refusal(
    pass.before,
    step,
    `was ${words[before.decision]} by ${before.by} at ${before.time}`,
    "ALREADY_DECIDED",
  );
}

function refusal({ id }: Job, { name }: Step, problem: string, reason = "NOT_WAITING_FOR_DECISION"): DomainError {
  return new DomainError({
    code: "FAILED_PRECONDITION",
    reason,
    message: `step ${name} of job ${id} ${problem}`,
    metadata: { jobId: id, step: name },
  });
}
