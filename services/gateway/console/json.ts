/**
 * What the API answers, derived from the contracts: each generated message as its proto3 JSON mapping. A field that is not set may be
 * left out, so every one is optional. Only types come from the contracts; nothing of them is loaded by the page.
 */
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";

type IsAny<T> = 0 extends 1 & T ? true : false;

/** A message as it stands in JSON: times and durations are text, bytes are base64. */
export type Json<T> =
  IsAny<T> extends true
    ? unknown
    : T extends Date | Duration | Uint8Array
      ? string
      : T extends readonly (infer Item)[]
        ? readonly Json<Item>[]
        : T extends object
          ? string extends keyof T
            ? { readonly [key: string]: Json<T[string & keyof T]> }
            : { readonly [K in keyof T]?: Json<T[K]> }
          : T;

import type { Execution as ExecutionMessage } from "@capstan/proto/capstan/execution/v1/execution.ts";
import type { Worker as WorkerMessage } from "@capstan/proto/capstan/execution/v1/worker.ts";
import type { Job as JobMessage, Step as StepMessage } from "@capstan/proto/capstan/job/v1/job.ts";
import type { Event as EventMessage } from "@capstan/proto/capstan/job/v1/job_service.ts";
import type { Schedule as ScheduleMessage } from "@capstan/proto/capstan/job/v1/schedule.ts";
import type { JobSpec as JobSpecMessage, StepSpec as StepSpecMessage } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Template as TemplateMessage } from "@capstan/proto/capstan/job/v1/template.ts";
import type { QueueView as QueueMessage } from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import type { Saga as SagaMessage } from "@capstan/proto/capstan/orchestrator/v1/saga.ts";
import type {
  DeadLetter as DeadLetterMessage,
  SagaFact as SagaFactMessage,
} from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import type { Provider as ProviderMessage } from "@capstan/proto/capstan/provider/v1/provider.ts";

export type Job = Json<JobMessage>;
export type Step = Json<StepMessage>;
export type JobSpec = Json<JobSpecMessage>;
export type StepSpec = Json<StepSpecMessage>;
export type Fact = Json<EventMessage>;
export type Execution = Json<ExecutionMessage>;
export type Provider = Json<ProviderMessage>;
export type Worker = Json<WorkerMessage>;
export type QueueView = Json<QueueMessage>;
export type Schedule = Json<ScheduleMessage>;
export type ScheduleSpec = NonNullable<Schedule["spec"]>;
export type Template = Json<TemplateMessage>;
export type Saga = Json<SagaMessage>;
export type SagaFact = Json<SagaFactMessage>;
export type DeadLetter = Json<DeadLetterMessage>;
