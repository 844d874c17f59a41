/** Facts of the job and execution contexts, as what happened to sagas. Every fact may come again. */
import type { ReceivedFact } from "@capstan/messaging";
import type { Pool } from "@capstan/postgres";
import { driveSagas, type SagaDeps, type Step } from "./driveSagas.ts";
import { type Hold, holdSagas } from "./holdStore.ts";
import type { KnownQueues } from "./knownQueues.ts";
import type { Placing } from "./placeSagas.ts";
import { orderTimeOf } from "./queue.ts";
import type { RecentSagas } from "./recentSagas.ts";
import type { Happened, Saga } from "./runJob.ts";
import { cancellationOf, type ExecutionNews, executionNewsOf, holdOf, newSagasOf } from "./sagaProto.ts";
import { insertSagas, loadLiveSagasOfJobs, loadSagas, type NewSaga } from "./sagaStore.ts";
import { insertTimers } from "./waitTimerStore.ts";

/** Begins a saga for each step that became READY, then ends those of jobs that are being cancelled. */
export async function handleJobFacts(
  deps: SagaDeps & {
    readonly placing: Pick<Placing, "isOpen" | "place" | "waiting">;
    readonly queues: Pick<KnownQueues, "of">;
  },
  facts: readonly ReceivedFact[],
): Promise<void> {
  const { placing, queues } = deps;
  const sagas = facts.flatMap(newSagasOf).map((saga) => {
    const { settings } = queues.of(saga.tenant, saga.queue);
    return { ...saga, orderTime: orderTimeOf(settings, saga.readyTime, saga.priority) };
  });
  const holds = holdsOf(facts);
  const isHeld = ({ jobId }: NewSaga) => holds.get(jobId)?.isHeld === true;
  // Asked once: what opens while they are written is no reason to leave out those that were not claimed.
  const open = new Set(sagas.filter((saga) => placing.isOpen(saga) && !isHeld(saga)).map(({ id }) => id));
  const fresh = sagas.length === 0 ? [] : await insertSagas(deps.pool, sagas, ({ id }) => open.has(id));
  await watch(deps, sagas);
  const released = holds.size === 0 ? [] : await holdSagas(deps.pool, [...holds.values()]);
  await cancelSagas(deps, facts);
  // Only now: what is cancelled in the same breath has moved on, and is not placed.
  placing.place(fresh);
  placing.waiting([
    ...sagas.filter(({ id }) => !open.has(id)),
    ...released.map(({ key: concurrencyKey, ...lane }) => ({ ...lane, concurrencyKey })),
  ]);
}

/** What was said last of each job that was paused or goes on. */
function holdsOf(facts: readonly ReceivedFact[]): ReadonlyMap<string, Hold> {
  return new Map(facts.flatMap((fact) => holdOf(fact) ?? []).map((hold) => [hold.jobId, hold]));
}

/** Sagas of queues that want something done about those that wait are looked at then. */
async function watch(
  { pool, queues }: { readonly pool: Pool; readonly queues: Pick<KnownQueues, "of"> },
  sagas: readonly NewSaga[],
): Promise<void> {
  const timers = sagas.flatMap(({ id, tenant, queue, readyTime }) => {
    const { onWait } = queues.of(tenant, queue).settings;
    return onWait.length === 0 ? [] : [{ id, readyTime, afterMs: Math.min(...onWait.map(({ afterMs }) => afterMs)) }];
  });
  if (timers.length > 0) await insertTimers(pool, timers);
}

async function cancelSagas(deps: SagaDeps, facts: readonly ReceivedFact[]): Promise<void> {
  const cancellations = new Map(facts.flatMap((fact) => cancellationOf(fact) ?? []).map((each) => [each.jobId, each]));
  if (cancellations.size === 0) return;
  const live = await loadLiveSagasOfJobs(deps.pool, [...cancellations.keys()]);
  const steps = live.flatMap((saga): Step[] => {
    const cancellation = cancellations.get(saga.jobId);
    if (cancellation === undefined || !cancellation.isAsked(saga.step)) return [];
    const { reason, message } = cancellation;
    return [{ saga, happened: [{ type: "cancelled", reason, message }] }];
  });
  await driveSagas(deps, steps);
}

/** Tells the job context what runs, keeps its capacity, and settles what has ended. */
export async function handleExecutionFacts(
  deps: SagaDeps & { readonly recent: RecentSagas },
  facts: readonly ReceivedFact[],
): Promise<void> {
  const news = Map.groupBy(
    facts.flatMap((fact) => executionNewsOf(fact) ?? []),
    ({ executionId }) => executionId,
  );
  const known = deps.recent.take(news.keys());
  const unknown = [...news.keys()].filter((id) => !known.has(id));
  const read = unknown.length === 0 ? new Map<string, Saga>() : await loadSagas(deps.pool, unknown);
  const steps = [...known.values(), ...read.values()].map(
    (saga): Step => ({ saga, happened: (news.get(saga.id) ?? []).map(happenedOf) }),
  );
  await driveSagas(deps, steps);
}

function happenedOf({ outcome, time }: ExecutionNews): Happened {
  return outcome === null ? { type: "started", time } : { type: "ended", outcome };
}
