/** Every field of a job spec and its kind: the schema of job files. The limits of values are the platform's to check. */
import {
  type JobSpec,
  type LabelConstraint,
  LabelOperator,
  Network,
  type Placement,
  PlacementStrategy,
  type Resources,
  type RetryPolicy,
  type Script,
  type StepSpec,
} from "@capstan/proto/capstan/job/v1/spec.ts";
import { bytes, choice, double, duration, int32, json, listOf, text, textMap, timestamp } from "./protoFields.ts";
import { message, optional } from "./protoMessage.ts";

const script = message<Script>({ interpreter: listOf(text), content: text });

const resources = message<Resources>({ cpuMillis: int32, memoryMib: int32, slots: int32 });

const labelConstraint = message<LabelConstraint>({ key: text, operator: choice(LabelOperator), values: listOf(text) });

const placement = message<Placement>({
  provider: text,
  kind: text,
  constraints: listOf(labelConstraint),
  strategy: choice(PlacementStrategy),
  spreadLabel: text,
});

const retryPolicy = message<RetryPolicy>({
  maxAttempts: int32,
  initialBackoff: duration,
  maxBackoff: duration,
  multiplier: double,
  jitter: double,
  fatalExitCodes: listOf(int32),
});

/** One step of a job. */
export const stepSpecFields = message<StepSpec>({
  name: text,
  command: listOf(text),
  args: listOf(text),
  script: optional(script),
  image: text,
  env: textMap,
  workingDirectory: text,
  stdin: bytes,
  resources: optional(resources),
  placement: optional(placement),
  retry: optional(retryPolicy),
  startTimeout: duration,
  runTimeout: duration,
  stopGrace: duration,
  network: choice(Network),
  handler: text,
  input: json,
});

/** A whole job. */
export const jobSpecFields = message<JobSpec>({
  name: text,
  labels: textMap,
  annotations: textMap,
  steps: listOf(stepSpecFields),
  timeout: duration,
  priority: int32,
  notBefore: timestamp,
  source: text,
});
