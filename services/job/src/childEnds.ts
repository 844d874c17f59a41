/** The ends of sub-jobs, applied to the steps that have submitted them. */
import type { Job } from "./job.ts";
import { type Flow, openPass, type Passed } from "./pass.ts";
import { settle } from "./promote.ts";
import { answerOf } from "./report.ts";
import { type ChildEnd, reportOfChild } from "./subJob.ts";

/** Null when all of it was known. `random` in [0, 1) spreads the backoffs. */
export function endChildren(
  job: Job,
  ends: readonly ChildEnd[],
  flow: Flow,
  now: Date,
  random: () => number,
): Passed | null {
  const pass = openPass(job, flow, now);
  let hasMoved = false;
  for (const end of ends) {
    const step = pass.find(end.step);
    if (step === undefined || pass.plannedOf(step).kind !== "subJob") continue;
    const isAskedToEnd = pass.isCancelling() && pass.plannedOf(step).role === "main";
    const mayRepeat = !isAskedToEnd && end.refusal === null;
    pass.causationId = end.childJobId;
    const answer = answerOf(step, reportOfChild(end), { now, random: random(), mayRepeat });
    if (answer.outcome !== "APPLIED" || !("move" in answer)) continue;
    pass.take(answer.move);
    hasMoved = true;
  }
  if (!hasMoved) return null;
  settle(pass);
  return pass.close();
}
