/** The invariants of Capstan: what always holds over its schemas, streams and engines, and how to look whether it does. */

export { connectDoctor, type Doctor, type Report, type Unexamined } from "./doctor.ts";
export {
  type Examination,
  type ExamineOptions,
  examine,
  type Finding,
  repair,
  seenTwice,
} from "./examine.ts";
export { type Invariant, type Schema, schemas } from "./invariant.ts";
export { type InvariantName, invariantNames, invariants } from "./invariants.ts";
export { findWorkloads, listWorkloads } from "./listWorkloads.ts";
export type { BrokerState, ConsumerState, Observed, StreamedFact, Workload } from "./observed.ts";
export { readBroker, readConsumers } from "./readBroker.ts";
