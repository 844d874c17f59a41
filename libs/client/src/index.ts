/** The SDK of Capstan: submits jobs and follows them, runs handlers as a worker, and calls its public services. */
export { DomainError, type ErrorCode, type FieldViolation } from "@capstan/errors";
export { type Addresses, type Capstan, type ConnectOptions, connect } from "./connect.ts";
export {
  type FailedState,
  JobFailed,
  type JobStateWord,
  NonRetryable,
  type ReasonWord,
  Stopped,
  type StopReason,
} from "./failures.ts";
export { defineHandlers, type Handler, type HandlerContext, type Handlers } from "./handlers.ts";
export type { CallOptions, EventsOptions, JobFact, JobHandle, SignalOptions, StepDecision } from "./jobHandle.ts";
export type { JobsClient, JobToSubmit, Submitted } from "./jobs.ts";
export type { CommandJob, HandlerJob, Retry, SpecJob, TemplateJob } from "./submission.ts";
export type { StateListener, StopOptions, Worker, WorkerOptions, WorkerState } from "./worker.ts";
