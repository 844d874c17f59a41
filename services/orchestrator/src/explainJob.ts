/**
 * Why the attempts of a job are where they are, or where those of a spec would come to be. What a saga says of itself is as old as its
 * last try; what the provider context would answer is asked for anew.
 */
import { invalid } from "@capstan/errors";
import { isUuid, type Pool } from "@capstan/postgres";
import { reasonFromJSON } from "@capstan/proto/capstan/job/v1/job.ts";
import type { JobSpec, StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type {
  AttemptExplanation,
  ExplainJobRequest,
  ExplainJobResponse,
  QueueView,
} from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import type { CapacityAnswer } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { type Contexts, previewPlacement, type Wish } from "./perform.ts";
import { isOpen, isQueueName, type Queue, unsetQueue } from "./queue.ts";
import { remedyFor, whyHeld } from "./queueReasons.ts";
import { countRunning, findQueue } from "./queueStore.ts";
import { type Saga, sagaId } from "./runJob.ts";
import { countHolders, readStandings, type Standing } from "./sagaQueries.ts";
import { loadLiveSagasOfJobs } from "./sagaStore.ts";

interface ExplainOptions {
  readonly pool: Pool;
  readonly contexts: Contexts;
}

type ViewsOf = (queues: readonly Queue[]) => Promise<readonly QueueView[]>;

const maxAttempts = 100;
const noJob = "00000000-0000-0000-0000-000000000000";

export async function explain(
  options: ExplainOptions,
  { jobId, spec }: ExplainJobRequest,
  tenant: string,
  viewsOf: ViewsOf,
): Promise<ExplainJobResponse> {
  if (spec !== undefined && jobId === "") return explainSpec(options, spec, tenant, viewsOf);
  if (spec !== undefined) throw invalid([{ field: "spec", description: "must be absent with a job_id" }]);
  if (!isUuid(jobId))
    throw invalid([{ field: "job_id", description: "must be the id of a job, or absent with a spec" }]);
  const live = (await loadLiveSagasOfJobs(options.pool, [jobId])).filter((saga) => saga.tenant === tenant);
  const sagas = live.slice(0, maxAttempts);
  const [first] = sagas;
  if (first === undefined) return { attempts: [], queue: undefined, hasMore: false };
  const standings = await readStandings(
    options.pool,
    sagas.map(({ id }) => id),
  );
  const queue = await queueNamed(options, tenant, first.queue);
  const [view] = await viewsOf([queue]);
  const waiting = sagas.filter(({ stage }) => stage === "WAITING");
  const previews = await preview(options, waiting);
  const attempts = sagas.map((saga) =>
    attemptOf(saga, { queue, view, standing: standings.get(saga.id), preview: previews.get(saga.id) }),
  );
  return { attempts: await withHolders(options, tenant, attempts), queue: view, hasMore: live.length > sagas.length };
}

async function queueNamed({ pool }: ExplainOptions, tenant: string, name: string): Promise<Queue> {
  return (await findQueue(pool, { tenant, queue: name })) ?? unsetQueue(tenant, name);
}

/** What each would be answered; none while the provider context is away. */
async function preview(
  { contexts }: ExplainOptions,
  wishes: readonly Wish[],
): Promise<ReadonlyMap<string, CapacityAnswer>> {
  const answers = await previewPlacement(contexts, wishes);
  return new Map(
    wishes.flatMap(({ id }, index) => {
      const answer = answers[index];
      return answer?.ok === true ? [[id, answer.value] as const] : [];
    }),
  );
}

interface Facts {
  readonly queue: Queue;
  readonly view: QueueView | undefined;
  readonly standing: Standing | undefined;
  readonly preview: CapacityAnswer | undefined;
}

function attemptOf(saga: Saga, { queue, view, standing, preview: answer }: Facts): AttemptExplanation {
  const isWaiting = saga.stage === "WAITING";
  const { reason, message } = isWaiting ? whyWaiting(saga, queue, standing) : saga;
  const ahead = isWaiting ? (standing?.ahead ?? 0) : -1;
  const drainPerSecond = view?.stats?.drainPerSecond ?? 0;
  const isComing = isWaiting && reason !== "QUEUE_PAUSED" && drainPerSecond > 0;
  return {
    step: saga.step,
    attempt: saga.attempt,
    stage: saga.stage,
    reason: reasonFromJSON(`REASON_${reason}`),
    message: message || saySaga(saga),
    since: standing?.since,
    remedy: remedyFor(reason, saga.stage, { queue: saga.queue, sagaId: saga.id }),
    ahead,
    estimatedBeginTime: isComing ? new Date(Date.now() + ((ahead + 1) / drainPerSecond) * 1_000) : undefined,
    refusals: refusalsOf(answer),
    executionId: saga.placed === null ? "" : saga.id,
    providerName:
      saga.placed?.providerName ?? (answer?.outcome?.$case === "held" ? answer.outcome.value.providerName : ""),
  };
}

/** One that stands behind others waits for what the first of them waits for. */
export function whyWaiting(
  saga: Saga,
  queue: Queue,
  standing: Standing | undefined,
): { reason: string; message: string } {
  if (queue.pauseTime !== null) return whyHeld(queue, saga.concurrencyKey, "QUEUE_PAUSED");
  if (saga.reason !== "QUEUED" || standing === undefined || standing.ahead === 0) return saga;
  if (standing.headReason === "QUEUED") return saga;
  return { reason: standing.headReason, message: `the first in its line waits: ${standing.headMessage}` };
}

function saySaga({ stage, placed }: Saga): string {
  const where = placed?.providerName ?? "";
  switch (stage) {
    case "WAITING":
      return "waits for its turn";
    case "RESERVED":
      return `has its place on ${where}, and is being started there`;
    case "STARTED":
      return `runs on ${where}`;
    case "SETTLING":
      return "has ended; its job is being told";
    case "COMPENSATING":
      return `is being stopped on ${where}`;
    default:
      return "";
  }
}

function refusalsOf(answer: CapacityAnswer | undefined): AttemptExplanation["refusals"] {
  return answer?.outcome?.$case === "refused" ? [...answer.outcome.value.failures] : [];
}

/** What is full says whose attempts fill it. */
async function withHolders(
  { pool }: ExplainOptions,
  tenant: string,
  attempts: readonly AttemptExplanation[],
): Promise<AttemptExplanation[]> {
  const isFull = ({ filter }: { filter: string }) => ["SLOTS", "CPU", "MEMORY"].includes(filter);
  const full = attempts.flatMap(({ refusals }) => refusals.filter(isFull).map(({ providerName }) => providerName));
  if (full.length === 0) return [...attempts];
  const holders = await countHolders(pool, tenant, [...new Set(full)]);
  const byProvider = Map.groupBy(holders, ({ provider }) => provider);
  return attempts.map((attempt) => ({
    ...attempt,
    refusals: attempt.refusals.map((refusal) => {
      const some = isFull(refusal) ? (byProvider.get(refusal.providerName) ?? []) : [];
      if (some.length === 0) return refusal;
      const names = some.slice(0, 3).map(({ jobName, count }) => `${count} × ${jobName}`);
      return { ...refusal, message: `${refusal.message}; held by ${names.join(", ")}${some.length > 3 ? ", …" : ""}` };
    }),
  }));
}

async function explainSpec(
  options: ExplainOptions,
  spec: JobSpec,
  tenant: string,
  viewsOf: ViewsOf,
): Promise<ExplainJobResponse> {
  const name = spec.queue || "default";
  if (!isQueueName(name)) throw invalid([{ field: "spec.queue", description: "is no name of a queue" }]);
  if (spec.steps.length < 1) throw invalid([{ field: "spec.steps", description: "must have at least 1 item" }]);
  const queue = await queueNamed(options, tenant, name);
  const [view] = await viewsOf([queue]);
  const steps = spec.steps.filter(needsPlace).slice(0, maxAttempts);
  const wishes = steps.map((step): Wish => {
    const id = sagaId(noJob, step.name, 1);
    return { id, tenant, jobId: noJob, jobName: spec.name.slice(0, 128), spec: step };
  });
  const previews = await preview(options, wishes);
  const held = await heldBack(options, queue, spec.concurrencyKey);
  const attempts = steps.map((step, index): AttemptExplanation => {
    const answer = previews.get(wishes[index]?.id ?? "");
    const refused = answer?.outcome?.$case === "refused" ? answer.outcome.value : null;
    const why = held ?? {
      reason: refused === null ? "UNSPECIFIED" : refused.reason.slice("REASON_".length),
      message: refused?.message ?? "",
    };
    const providerName = answer?.outcome?.$case === "held" ? answer.outcome.value.providerName : "";
    return {
      ...{
        step: step.name || "main",
        attempt: 0,
        stage: "",
        since: undefined,
        ahead: -1,
        estimatedBeginTime: undefined,
      },
      reason: reasonFromJSON(`REASON_${why.reason}`),
      message: why.message || (providerName === "" ? "" : `would begin at once on ${providerName}`),
      remedy: remedyFor(why.reason, "WAITING", { queue: name, sagaId: "" }),
      refusals: refusalsOf(answer),
      executionId: "",
      providerName,
    };
  });
  return {
    attempts: await withHolders(options, tenant, attempts),
    queue: view,
    hasMore: spec.steps.length > maxAttempts,
  };
}

function needsPlace({ approval, signal, sleep, subJob }: StepSpec): boolean {
  return approval === undefined && signal === undefined && sleep === undefined && subJob === undefined;
}

/** What the queue itself has against one more at this moment; null: nothing. A rate is not asked. */
async function heldBack(
  { pool }: ExplainOptions,
  queue: Queue,
  key: string,
): Promise<{ reason: string; message: string } | null> {
  if (queue.pauseTime !== null) return whyHeld(queue, key, "QUEUE_PAUSED");
  if (isOpen(queue)) return null;
  const usage = await countRunning(pool, [{ tenant: queue.tenant, queue: queue.name }]);
  const { maxRunning, maxRunningPerKey } = queue.settings;
  const running = usage.reduce((sum, each) => sum + each.running, 0);
  const ofKey = usage.find((each) => each.key === key)?.running ?? 0;
  if (maxRunning > 0 && running >= maxRunning) return whyHeld(queue, key, "QUEUE_LIMIT");
  return maxRunningPerKey > 0 && key !== "" && ofKey >= maxRunningPerKey ? whyHeld(queue, key, "KEY_LIMIT") : null;
}
