/** The invariants of Capstan: what always holds over its schemas, streams and engines, and how to look whether it does. */

export { connectDoctor, type Doctor, type Report } from "./doctor.ts";
export { examine, type Finding, repair } from "./examine.ts";
export { type InvariantName, invariantNames, invariants } from "./invariants.ts";
export { listWorkloads } from "./listWorkloads.ts";
export type { BrokerState, Observed, StreamedFact } from "./observed.ts";
export { readBroker, readConsumers } from "./readBroker.ts";
export { connectRebuild, type Progress } from "./rebuildStreams.ts";
