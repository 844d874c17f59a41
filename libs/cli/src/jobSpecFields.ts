/** Every field of a job spec and its kind: the schema of job files. The limits of values are the platform's to check. */
import {
  type Approval,
  type ForEach,
  type JobSpec,
  type LabelConstraint,
  LabelOperator,
  Network,
  type Placement,
  PlacementStrategy,
  type Resources,
  type RetryPolicy,
  type Script,
  type SignalWait,
  type Sleep,
  type StepSpec,
  type SubJob,
  type TemplateUse,
  TimeoutOutcome,
} from "@capstan/proto/capstan/job/v1/spec.ts";
import {
  bytes,
  choice,
  double,
  duration,
  flag,
  int32,
  json,
  jsonList,
  jsonMap,
  listOf,
  text,
  textMap,
  timestamp,
} from "./protoFields.ts";
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

const forEach = message<ForEach>({ items: jsonList, expression: text, maxParallel: int32 });

/** A template with the values of its parameters. */
export const templateUse = message<TemplateUse>({ name: text, version: int32, parameters: jsonMap });

const subJob = message<SubJob>({ template: optional(templateUse) });

const approval = message<Approval>({ message: text, timeout: duration, onTimeout: choice(TimeoutOutcome) });

const signalWait = message<SignalWait>({ name: text, timeout: duration, onTimeout: choice(TimeoutOutcome) });

const sleep = message<Sleep>({ duration, until: timestamp, expression: text });

/** One step of a job. */
const stepSpecFields = message<StepSpec>({
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
  dependsOn: listOf(text),
  continueOnFailure: flag,
  when: text,
  forEach: optional(forEach),
  compensate: text,
  subJob: optional(subJob),
  approval: optional(approval),
  signal: optional(signalWait),
  sleep: optional(sleep),
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
  queue: text,
  concurrencyKey: text,
  input: json,
  onSuccess: listOf(text),
  onFailure: listOf(text),
  onCancel: listOf(text),
});
