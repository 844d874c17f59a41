/** A job as a user of the SDK says it, and the request it becomes. */
import { invalid } from "@capstan/errors";
import type { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import {
  JobSpec,
  type LabelConstraint,
  type Network,
  type Placement,
  type Resources,
  type RetryPolicy,
  type Script,
  type StepSpec,
  TemplateUse,
} from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import type { HandlerName, Handlers, InputOf } from "./handlers.ts";
import { payloadOf } from "./payload.ts";

/** When a failed attempt is repeated; the platform's defaults where nothing is said. */
export interface Retry {
  /** Attempts in all; 1 unless said: never repeat. */
  readonly maxAttempts: number;
  readonly initialBackoffMs?: number;
  readonly maxBackoffMs?: number;
  readonly multiplier?: number;
  readonly jitter?: number;
  readonly fatalExitCodes?: readonly number[];
}

interface Keys {
  /** Makes the job unique: a second one with the same key and spec is the first one. */
  readonly idempotencyKey?: string;
  /** Makes the call repeatable; the SDK makes one when none is given. */
  readonly requestId?: string;
}

interface Common extends Keys {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** -100 to 100; the higher goes first. */
  readonly priority?: number;
  /** How long the whole job may take, waiting included. */
  readonly timeoutMs?: number;
  /** How long one attempt may run. */
  readonly runTimeoutMs?: number;
  /** How long one attempt may wait where it was placed. */
  readonly startTimeoutMs?: number;
  /** Between the request to stop and giving up. */
  readonly stopGraceMs?: number;
  readonly notBefore?: Date;
  readonly source?: string;
  /** The queue it waits in; `default` unless said. */
  readonly queue?: string;
  /** Jobs of one queue with the same key share the limit that the queue sets per key. */
  readonly concurrencyKey?: string;
  readonly retry?: Retry;
  readonly constraints?: readonly LabelConstraint[];
}

type InputField<I> = undefined extends I ? { readonly input?: I } : { readonly input: I };

/** A job for a handler of a connected worker. */
export type HandlerJob<H extends Handlers = Handlers, K extends HandlerName<H> = HandlerName<H>> = Common &
  InputField<InputOf<H, K>> & {
    readonly handler: K;
    /** The pool whose workers may run it; any that has the handler unless said. */
    readonly pool?: string;
  };

/** A job that runs a program, as a process or in a container. */
export interface CommandJob extends Common {
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly script?: string | { readonly interpreter: readonly string[]; readonly content: string };
  readonly image?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly workingDirectory?: string;
  readonly stdin?: string | Uint8Array;
  readonly resources?: Partial<Readonly<Resources>>;
  readonly network?: "NONE" | "BRIDGE";
  /** The provider that may run it; any that fits unless said. */
  readonly provider?: string;
  readonly handler?: never;
}

/** A job by its whole spec, as the contract has it: also a workflow of many steps. */
export interface SpecJob extends Keys {
  readonly spec: Given<JobSpec>;
}

/** A job from a template, whose parameters are checked by the platform. */
export interface TemplateJob extends Keys {
  readonly template: {
    readonly name: string;
    /** The newest that is published unless said. */
    readonly version?: number;
    readonly parameters?: Readonly<Record<string, unknown>>;
  };
  /** What takes the place of the template's, such as its `name`, `labels` or `priority`. */
  readonly spec?: Given<JobSpec>;
}

/** A message of the contract of which everything may be left out, made of anything that has the fields. */
type Given<T> = 0 extends 1 & T
  ? unknown
  : T extends Date | Uint8Array | string | number | boolean | undefined
    ? T
    : T extends readonly (infer Item)[]
      ? readonly Given<Item>[]
      : { readonly [Field in keyof T]?: Given<T[Field]> | undefined };

/** A request, and about how many bytes it is. */
export interface Submission {
  readonly request: SubmitJobRequest;
  readonly weight: number;
}

/** Refuses an input that the platform would refuse; all else is left to the platform. */
export function submissionOf(
  job: HandlerJob | CommandJob | SpecJob | TemplateJob,
  requestId: () => string,
): Submission {
  const keys = {
    idempotencyKey: job.idempotencyKey ?? "",
    requestId: job.requestId ?? requestId(),
    validateOnly: false,
    template: undefined,
  };
  if ("template" in job) return templateSubmission(job, keys);
  if ("spec" in job) {
    const spec = JobSpec.fromPartial(job.spec as Parameters<typeof JobSpec.fromPartial>[0]);
    return { request: { spec, ...keys }, weight: JobSpec.encode(spec).finish().length };
  }
  const input = payloadOf(job.handler === undefined ? undefined : (job as HandlerJob).input);
  if (input.problem !== null) throw invalid([{ field: "input", description: input.problem }]);
  const step = job.handler === undefined ? commandStep(job as CommandJob) : handlerStep(job as HandlerJob);
  step.input = input.value;
  const spec = specOf(job, step);
  const weight = job.handler === undefined ? JobSpec.encode(spec).finish().length : 500 + input.weight + textOf(job);
  return { request: { spec, ...keys }, weight };
}

function templateSubmission(
  { template, spec: given }: TemplateJob,
  keys: Pick<SubmitJobRequest, "idempotencyKey" | "requestId" | "validateOnly">,
): Submission {
  const { name, version = 0, parameters = {} } = template;
  const use = TemplateUse.fromPartial({ name, version, parameters });
  const spec = given && JobSpec.fromPartial(given as Parameters<typeof JobSpec.fromPartial>[0]);
  return { request: { ...keys, spec, template: use }, weight: 500 + TemplateUse.encode(use).finish().length };
}

function textOf({ name, labels, annotations }: Common): number {
  if (labels === undefined && annotations === undefined) return 3 * name.length;
  return 3 * (name.length + JSON.stringify([labels, annotations]).length);
}

function specOf(job: Common, step: StepSpec): JobSpec {
  return {
    name: job.name,
    labels: (job.labels ?? {}) as Record<string, string>,
    annotations: (job.annotations ?? {}) as Record<string, string>,
    steps: [step],
    timeout: durationOf(job.timeoutMs),
    priority: job.priority ?? 0,
    notBefore: job.notBefore,
    source: job.source ?? "",
    queue: job.queue ?? "",
    concurrencyKey: job.concurrencyKey ?? "",
    input: undefined,
    onSuccess: [],
    onFailure: [],
    onCancel: [],
  };
}

function handlerStep(job: HandlerJob): StepSpec {
  const step = emptyStep(job, job.pool ?? "");
  step.handler = job.handler;
  return step;
}

function commandStep(job: CommandJob): StepSpec {
  const { command = [], args = [], env = {}, workingDirectory = "", stdin = "", image = "" } = job;
  return {
    ...emptyStep(job, job.provider ?? ""),
    command: [...command],
    args: [...args],
    script: scriptOf(job.script),
    image,
    env: { ...env },
    workingDirectory,
    stdin: Buffer.from(stdin),
    resources: job.resources && { cpuMillis: 0, memoryMib: 0, slots: 0, ...job.resources },
    network: `NETWORK_${job.network ?? "UNSPECIFIED"}` as Network,
  };
}

function scriptOf(script: CommandJob["script"]): Script | undefined {
  if (script === undefined) return undefined;
  if (typeof script === "string") return { interpreter: [], content: script };
  return { interpreter: [...script.interpreter], content: script.content };
}

const noBytes = Buffer.alloc(0);

function emptyStep(job: Common, provider: string): StepSpec {
  return {
    name: "",
    command: [],
    args: [],
    script: undefined,
    image: "",
    env: {},
    workingDirectory: "",
    stdin: noBytes,
    resources: undefined,
    placement: placementOf(provider, job.constraints),
    retry: retryOf(job.retry),
    startTimeout: durationOf(job.startTimeoutMs),
    runTimeout: durationOf(job.runTimeoutMs),
    stopGrace: durationOf(job.stopGraceMs),
    network: "NETWORK_UNSPECIFIED",
    handler: "",
    input: undefined,
    dependsOn: [],
    continueOnFailure: false,
    when: "",
    forEach: undefined,
    compensate: "",
    subJob: undefined,
    approval: undefined,
    signal: undefined,
    sleep: undefined,
  };
}

function placementOf(provider: string, constraints: Common["constraints"]): Placement | undefined {
  if (provider === "" && constraints === undefined) return undefined;
  const strategy = "PLACEMENT_STRATEGY_UNSPECIFIED";
  return { provider, kind: "", constraints: [...(constraints ?? [])], strategy, spreadLabel: "" };
}

function retryOf(retry: Retry | undefined): RetryPolicy | undefined {
  if (retry === undefined) return undefined;
  return {
    maxAttempts: retry.maxAttempts,
    initialBackoff: durationOf(retry.initialBackoffMs),
    maxBackoff: durationOf(retry.maxBackoffMs),
    multiplier: retry.multiplier ?? 0,
    jitter: retry.jitter ?? 0,
    fatalExitCodes: [...(retry.fatalExitCodes ?? [])],
  };
}

export function durationOf(ms: number | undefined): Duration | undefined {
  if (ms === undefined) return undefined;
  const seconds = Math.trunc(ms / 1_000);
  return { seconds, nanos: Math.round((ms - seconds * 1_000) * 1e6) };
}
