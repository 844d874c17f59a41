/** Every invariant by its name, which `capstan doctor --only` and the metric know it by. */
import { brokerInvariants } from "./brokerInvariants.ts";
import { capacityInvariants } from "./capacityInvariants.ts";
import { executionInvariants } from "./executionInvariants.ts";
import { factInvariants } from "./factInvariants.ts";
import type { Invariant } from "./invariant.ts";
import { jobInvariants } from "./jobInvariants.ts";
import { queueInvariants } from "./queueInvariants.ts";
import { runnerInvariants } from "./runnerInvariants.ts";
import { sagaInvariants } from "./sagaInvariants.ts";
import { scheduleInvariants } from "./scheduleInvariants.ts";
import { waitInvariants } from "./waitInvariants.ts";
import { workflowInvariants } from "./workflowInvariants.ts";

const all = {
  ...jobInvariants,
  ...workflowInvariants,
  ...waitInvariants,
  ...scheduleInvariants,
  ...factInvariants,
  ...brokerInvariants,
  ...sagaInvariants,
  ...queueInvariants,
  ...executionInvariants,
  ...runnerInvariants,
  ...capacityInvariants,
} as const;

export type InvariantName = keyof typeof all;

export const invariants: Readonly<Record<InvariantName, Invariant>> = all;
export const invariantNames = Object.keys(all) as readonly InvariantName[];
