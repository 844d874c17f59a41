/** Jobs as a test speaks of them: only what matters is said, the rest is as a user would leave it. */

import type { Capstan } from "@capstan/client";
import { DomainError } from "@capstan/errors";
import type { PromiseClient } from "@capstan/grpc";
import type { LogSummary } from "@capstan/proto/capstan/execution/v1/execution.ts";
import type { LogChunk } from "@capstan/proto/capstan/execution/v1/execution_service.ts";
import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import { type Event, type JobServiceClient, SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import type { JobSpec, StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import { expect } from "vitest";
import { queryOnce } from "./database.ts";
import { eventually } from "./eventually.ts";
import type { Platform } from "./startPlatform.ts";

/** Who answers for jobs: a connection to the platform, or a test's own to one service. */
interface WithJobs {
  readonly jobs: PromiseClient<JobServiceClient>;
}

type Plain = string | number | boolean | Date | Uint8Array | undefined;

/** A message of which any field may be left out. */
export type Part<T> = T extends Plain
  ? T
  : T extends readonly (infer U)[]
    ? readonly Part<U>[]
    : { readonly [K in keyof T]?: Part<T[K]> };

export type StepPart = Part<StepSpec>;
/** A job but for its step; the name is `example` unless given. */
export type JobPart = Part<Omit<JobSpec, "steps">>;
export type RequestPart = Part<Omit<SubmitJobRequest, "spec">>;

export function seconds(amount: number): Duration {
  const whole = Math.floor(amount);
  return { seconds: whole, nanos: Math.round((amount - whole) * 1_000_000_000) };
}

/** A step that runs a line of shell. */
export function sh(line: string, more: StepPart = {}): StepPart {
  return { ...more, command: ["sh", "-c", line] };
}

export function requestOf(step: StepPart, job: JobPart = {}, more: RequestPart = {}): SubmitJobRequest {
  const part = { ...more, spec: { name: "example", ...job, steps: [step] } };
  const request = SubmitJobRequest.fromPartial(part as Parameters<typeof SubmitJobRequest.fromPartial>[0]);
  // `fromPartial` would lose a label `__proto__`.
  if (request.spec !== undefined) request.spec.labels = { ...job.labels } as JobSpec["labels"];
  return request;
}

export async function submit(
  { jobs }: WithJobs,
  step: StepPart,
  job: JobPart = {},
  more: RequestPart = {},
): Promise<Job> {
  return given((await jobs.submitJob(requestOf(step, job, more))).job);
}

export async function getJob({ jobs }: WithJobs, jobId: string): Promise<Job> {
  return given((await jobs.getJob({ jobId })).job);
}

/** The job once it has ended; fails when it has not within 30 s. */
export async function untilEnded({ jobs }: WithJobs, { id }: Pick<Job, "id">): Promise<Job> {
  const { job, done } = await jobs.waitJob({ jobId: id, timeout: seconds(30) }, { deadlineMs: 40_000 });
  expect(
    done,
    `job ${id} is still ${job?.state}, ${job?.reason} ${job?.steps[0]?.reason} ${job?.steps[0]?.message}`,
  ).toBe(true);
  return given(job);
}

export async function run(capstan: WithJobs, step: StepPart, job: JobPart = {}): Promise<Job> {
  return untilEnded(capstan, await submit(capstan, step, job));
}

/** The id of the execution of a job's step, once it runs. */
export function untilPlaced(capstan: WithJobs, { id }: Pick<Job, "id">): Promise<string> {
  return eventually(async () => {
    const { state, executionId } = stepOf(await getJob(capstan, id));
    expect(state).toBe("STEP_STATE_RUNNING");
    return executionId;
  });
}

/** The one step of a job. */
export function stepOf(job: Job) {
  return given(job.steps[0]);
}

/** Every fact of a job, as the API tells them. */
export async function listEvents({ jobs }: WithJobs, jobId: string): Promise<readonly Event[]> {
  return (await jobs.listJobEvents({ jobId, pageSize: 1_000, pageToken: "" })).events;
}

/** `job.submitted`, from the type `capstan.job.v1.job.submitted`. */
export function shortType({ type }: Pick<Event, "type">): string {
  return type.split(".").slice(3).join(".");
}

export interface ReadLog {
  readonly stdout: string;
  readonly stderr: string;
  readonly chunks: readonly LogChunk[];
  readonly summary: LogSummary;
}

/** The log of an execution to its end; with `follow` until it is sealed. */
export async function readLog(
  { executions }: Pick<Capstan, "executions">,
  executionId: string,
  { follow = false, onChunk = (_chunk: LogChunk) => {} } = {},
): Promise<ReadLog> {
  const chunks: LogChunk[] = [];
  let summary: LogSummary | null = null;
  for await (const { part } of executions.tailLogs({ executionId, afterSequence: 0, follow })) {
    if (part?.$case === "summary") summary = part.value;
    if (part?.$case !== "chunk") continue;
    chunks.push(part.value);
    onChunk(part.value);
  }
  const text = (stream: LogChunk["stream"]) =>
    Buffer.concat(chunks.filter((chunk) => chunk.stream === stream).map(({ data }) => data)).toString();
  return {
    stdout: text("LOG_STREAM_STDOUT"),
    stderr: text("LOG_STREAM_STDERR"),
    chunks,
    summary: given(summary),
  };
}

/** What a call was refused with; fails when it was not. */
export async function refusalOf(call: Promise<unknown>): Promise<DomainError> {
  const outcome: unknown = await call.then(
    () => "an answer",
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(DomainError);
  return outcome as DomainError;
}

function given<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error("the answer has not what was asked for");
  return value;
}

/** How many jobs with this label value have ended, by state; read from the tables, because the service may be away. */
export async function countEnded(
  { database }: Pick<Platform, "database">,
  batch: string,
): Promise<ReadonlyMap<string, number>> {
  const rows = await queryOnce(
    database.adminUrl,
    `select state, count(*)::int as count from job.job
      where labels @> jsonb_build_object('batch', $1::text) and end_time is not null group by state`,
    [batch],
  );
  return new Map(rows.map(({ state, count }) => [String(state), Number(count)]));
}

/** A thousand short jobs under one label value; half of them take 50 ms. What is lost with its runner is repeated. */
export async function submitBatch({ jobs }: WithJobs, batch: string, size = 1_000): Promise<readonly string[]> {
  const retry = { maxAttempts: 3, initialBackoff: seconds(0.1) };
  const requests = Array.from({ length: size }, (_, index) =>
    requestOf({ command: index % 2 === 0 ? ["true"] : ["sleep", "0.05"], retry }, { name: batch, labels: { batch } }),
  );
  const { results } = await jobs.submitJobs({ requests });
  return results.map(({ outcome }) => {
    if (outcome?.$case !== "accepted") throw new Error(`a job was refused: ${JSON.stringify(outcome)}`);
    return outcome.value.jobId;
  });
}
