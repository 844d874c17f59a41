/**
 * Commands to the other contexts: grouped by kind, one RPC for many. One item must not spoil the others: a batch that is refused, too
 * large for a message or more than the other side can bear is halved until the culprit is alone. All commands may be repeated.
 */
import { DomainError } from "@capstan/errors";
import type { PromiseClient } from "@capstan/grpc";
import type {
  ExecutionInternalServiceClient,
  ExecutionStart,
} from "@capstan/proto/capstan/execution/v1/execution_internal_service.ts";
import { reasonFromJSON } from "@capstan/proto/capstan/job/v1/job.ts";
import type { ExecutionReport, JobInternalServiceClient } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import { providerKindFromJSON } from "@capstan/proto/capstan/provider/v1/provider.ts";
import type {
  CapacityAnswer,
  ProviderInternalServiceClient,
} from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { type Command, holdSecondsOf, type Saga, specOf } from "./runJob.ts";
import { claimSeconds } from "./sagaStore.ts";

export interface Contexts {
  readonly jobs: PromiseClient<JobInternalServiceClient>;
  readonly providers: PromiseClient<ProviderInternalServiceClient>;
  readonly executions: PromiseClient<ExecutionInternalServiceClient>;
}

/** A command of a saga. */
export interface Asked {
  readonly saga: Saga;
  readonly command: Command;
}

/** Done, or why not: `isFinal` when repeating cannot cure it. */
export type Performed =
  | { readonly ok: true }
  | { readonly ok: false; readonly isFinal: boolean; readonly message: string };

type Answer<A> = { readonly ok: true; readonly value: A } | Extract<Performed, { ok: false }>;

const incurable: readonly string[] = [
  "INVALID_ARGUMENT",
  "FAILED_PRECONDITION",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
];

/** The most that an internal RPC takes. */
const maxItems = 1_000;
/** Inputs or results in one call, as JSON. A message may have 4 MiB; encoded they can be a few times as long as this. */
const maxPayload = 1_024 * 1_024;

/** Sends items in as few calls as possible; answers per item, in order. Never throws what a context answered. */
async function callMany<T, A>(
  items: readonly T[],
  call: (items: readonly T[]) => Promise<readonly A[]>,
  payloadOf: (item: T) => unknown = () => undefined,
): Promise<Answer<A>[]> {
  const answers: Answer<A>[] = [];
  for (const batch of batchesOf(items, payloadOf)) answers.push(...(await callBatch(batch, call)));
  return answers;
}

/** What is sure to be refused as too large is not even encoded: halving many large ones down to what fits would take seconds. */
function batchesOf<T>(items: readonly T[], payloadOf: (item: T) => unknown): readonly (readonly T[])[] {
  const batches: T[][] = [];
  let batch: T[] = [];
  let size = 0;
  for (const item of items) {
    const payload = payloadOf(item);
    const more = payload === undefined || payload === null ? 0 : JSON.stringify(payload).length;
    if (batch.length === 0 || batch.length === maxItems || size + more > maxPayload) {
      batch = [];
      size = 0;
      batches.push(batch);
    }
    batch.push(item);
    size += more;
  }
  return batches;
}

async function callBatch<T, A>(
  items: readonly T[],
  call: (items: readonly T[]) => Promise<readonly A[]>,
): Promise<Answer<A>[]> {
  try {
    const values = await call(items);
    return values.map((value) => ({ ok: true, value }));
  } catch (error) {
    const isFinal = error instanceof DomainError && incurable.includes(error.code);
    const message = error instanceof DomainError ? error.message : "the call failed";
    if (isOutage(error) || items.length === 1) return items.map(() => ({ ok: false, isFinal, message }));
    const middle = Math.ceil(items.length / 2);
    return [...(await callBatch(items.slice(0, middle), call)), ...(await callBatch(items.slice(middle), call))];
  }
}

/** Every other call would fail as well at this moment, whatever it carries; asking more often would only make it worse. */
function isOutage(error: unknown): boolean {
  if (!(error instanceof DomainError)) return false;
  return error.retryAfterMs !== null || ["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"].includes(error.code);
}

/** What is asked of the provider context for an attempt. */
export type Wish = Pick<Saga, "id" | "tenant" | "jobId" | "jobName" | "spec">;

/** Asks for capacity for each saga, most urgent first. */
export function reserve(contexts: Contexts, sagas: readonly Saga[]): Promise<Answer<CapacityAnswer>[]> {
  return askForCapacity(contexts, sagas, false);
}

/** What the provider context would answer at this moment; holds nothing. */
export function previewPlacement(contexts: Contexts, wishes: readonly Wish[]): Promise<Answer<CapacityAnswer>[]> {
  return askForCapacity(contexts, wishes, true);
}

function askForCapacity(
  { providers }: Contexts,
  wishes: readonly Wish[],
  validateOnly: boolean,
): Promise<Answer<CapacityAnswer>[]> {
  return callMany(wishes, async (some) => {
    const request = {
      requests: some.map((wish) => ({
        reservationId: wish.id,
        tenant: wish.tenant,
        jobId: wish.jobId,
        jobName: wish.jobName,
        resources: specOf(wish).resources,
        placement: specOf(wish).placement,
        needsImage: specOf(wish).image !== "",
        handler: specOf(wish).handler,
        hold: { seconds: holdSecondsOf(wish), nanos: 0 },
      })),
      validateOnly,
    };
    return (await providers.reserveCapacity(request, { deadlineMs: 1_000 * (claimSeconds - 1) })).answers;
  });
}

/** Performs commands; answers per command, in order. */
export async function perform(contexts: Contexts, asked: readonly Asked[]): Promise<readonly Performed[]> {
  const performed: Performed[] = asked.map(() => ({ ok: true }));
  const ofType = (type: Command["type"]) =>
    asked.flatMap(({ command }, index) => (command.type === type ? [index] : []));
  async function run(
    type: Command["type"],
    call: (some: readonly Asked[]) => Promise<readonly unknown[]>,
  ): Promise<void> {
    const indexes = ofType(type);
    const answers = await callMany(
      indexes.map((index) => asked[index] as Asked),
      call,
      payloadOf,
    );
    for (const [position, index] of indexes.entries()) performed[index] = answers[position] ?? { ok: true };
  }
  // Stops go before releases: capacity is free only when nothing uses it any more.
  await run("stop", (some) => stopMany(contexts, some));
  await Promise.all([
    run("start", (some) => startMany(contexts, some)),
    run("report", (some) => reportMany(contexts, some)),
    run("release", (some) => releaseMany(contexts, some)),
    run("confirm", (some) => confirmMany(contexts, some)),
  ]);
  return performed;
}

/** What of a command may be large: the input of what starts, the result of what is told. */
function payloadOf({ saga, command }: Asked): unknown {
  if (command.type === "start") return specOf(saga).input;
  return command.type === "report" && "result" in command.outcome ? command.outcome.result : undefined;
}

async function startMany({ executions }: Contexts, some: readonly Asked[]): Promise<readonly unknown[]> {
  const { outcomes } = await executions.startExecutions({ starts: some.map(({ saga }) => startOf(saga)) });
  return outcomes;
}

function startOf(saga: Saga): ExecutionStart {
  return {
    executionId: saga.id,
    tenant: saga.tenant,
    jobId: saga.jobId,
    step: saga.step,
    attempt: saga.attempt,
    providerId: saga.placed?.providerId ?? "",
    providerName: saga.placed?.providerName ?? "",
    kind: providerKindFromJSON(saga.placed?.kind),
    endpoint: saga.placed?.endpoint ?? "",
    spec: specOf(saga),
    traceparent: saga.traceparent ?? "",
  };
}

async function stopMany({ executions }: Contexts, some: readonly Asked[]): Promise<readonly unknown[]> {
  const stops = some.flatMap(({ saga, command }) => {
    if (command.type !== "stop") return [];
    const { tenant, jobId, step, attempt } = saga;
    const reason = reasonFromJSON(`REASON_${command.reason}`);
    return [{ executionId: saga.id, reason, message: command.message, tenant, jobId, step, attempt }];
  });
  await executions.stopExecutions({ stops });
  return some;
}

async function releaseMany({ providers }: Contexts, some: readonly Asked[]): Promise<readonly unknown[]> {
  await providers.releaseReservations({ reservationIds: some.map(({ saga }) => saga.id) });
  return some;
}

/** Capacity in use no longer expires. What runs although its capacity had expired before is stopped: it may be in use twice. */
async function confirmMany(contexts: Contexts, some: readonly Asked[]): Promise<readonly unknown[]> {
  const { expiredIds } = await contexts.providers.confirmReservations({
    reservationIds: some.map(({ saga }) => saga.id),
  });
  const command = {
    type: "stop",
    reason: "START_TIMEOUT",
    message: "its capacity had expired before it started",
  } as const;
  const expired = some.filter(({ saga }) => expiredIds.includes(saga.id));
  if (expired.length > 0)
    await stopMany(
      contexts,
      expired.map(({ saga }) => ({ saga, command })),
    );
  return some;
}

async function reportMany({ jobs }: Contexts, some: readonly Asked[]): Promise<readonly unknown[]> {
  const { outcomes } = await jobs.reportExecutions({ reports: some.map(reportOf) });
  return outcomes;
}

function reportOf({ saga, command }: Asked): ExecutionReport {
  if (command.type !== "report") throw new Error("not a report");
  const { outcome } = command;
  const isEnd = "exitCode" in outcome;
  const time = "time" in outcome && outcome.time !== null ? new Date(outcome.time) : undefined;
  return {
    jobId: saga.jobId,
    step: saga.step,
    attempt: saga.attempt,
    executionId: saga.placed === null ? "" : saga.id,
    outcome: `EXECUTION_OUTCOME_${outcome.type}`,
    reason: reasonFromJSON(`REASON_${outcome.reason}`),
    message: outcome.message,
    exitCode: isEnd ? (outcome.exitCode ?? undefined) : undefined,
    result: isEnd ? outcome.result : undefined,
    time,
    startTime: isEnd && outcome.startTime !== null ? new Date(outcome.startTime) : undefined,
    providerName: saga.placed?.providerName ?? "",
    causationId: saga.id,
  };
}
