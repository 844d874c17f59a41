/**
 * What happens when a step of each kind is reached: nothing holds it back any more, and its expressions are replaced. A further kind is
 * a further line in the table, and nothing else of the engine knows of it.
 */
import type { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Inbox } from "./inbox.ts";
import type { Job, Reason, Step } from "./job.ts";
import type { StepKind } from "./plan.ts";
import type { Scope } from "./renderStep.ts";
import { type NewChild, reachSubJob } from "./subJob.ts";
import { reachApproval, reachSignal, reachSleep } from "./waits.ts";

/** Where a step goes when it is reached. */
export type Reached =
  /** It waits for a place to be executed in. */
  | { readonly to: "ready" }
  /** It waits, SUSPENDED, for somebody or for a time. */
  | {
      readonly to: "suspended";
      readonly reason: Reason;
      readonly message: string;
      /** When it goes on by itself; null for never. */
      readonly dueTime: Date | null;
    }
  /** It runs as a job of its own. */
  | { readonly to: "started"; readonly child: NewChild }
  | { readonly to: "succeeded"; readonly result: unknown }
  | { readonly to: "failed" | "skipped"; readonly reason: Reason; readonly message: string };

/** When a step of which job is reached, and what its expressions read. */
export interface ReachedAt {
  readonly now: Date;
  readonly job: Job;
  /** By when the step has to have ended; null for no such time. */
  readonly deadlineTime: Date | null;
  readonly step: Step;
  readonly inbox: Inbox;
  scope(): Scope;
}

export const reachedByKind: Readonly<Record<StepKind, (spec: StepSpec, at: ReachedAt) => Reached>> = {
  execution: () => ({ to: "ready" }),
  subJob: reachSubJob,
  approval: reachApproval,
  signal: reachSignal,
  sleep: reachSleep,
};
