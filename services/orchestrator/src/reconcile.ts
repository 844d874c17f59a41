/**
 * Compares the sagas with what the other contexts have, and puts right what does not fit by the same commands that are sent on the way of
 * every attempt, which may be repeated:
 *
 *   a step waits or runs and no saga knows it        its facts are handled again, as if they had just come
 *   a job is over and a saga of it is not            the saga is cancelled
 *   a job is being cancelled and a saga goes on      the saga is cancelled: of two replicas one may have heard of the cancel before the
 *                                                    other knew the step
 *   capacity is held and no saga lives for it        it is given back
 *   an execution lives and no saga leads it          it is stopped
 *
 * What is found counts when the next look finds it again: whatever is on its way has arrived by then. That a stage stands still is none of
 * this: wakeSagas.ts sends its command again.
 */
import { DomainError } from "@capstan/errors";
import type { ReceivedFact } from "@capstan/messaging";
import type { Repair, TellRepair } from "@capstan/postgres";
import type { LoggedJobEvent } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import type { App, Loop } from "@capstan/service";
import { driveSagas, type SagaDeps } from "./driveSagas.ts";
import { findUnknown, findUnled, type LongLived, listLongLived } from "./reconcileStore.ts";
import { sagaId } from "./runJob.ts";
import { type Cancellation, cancellationOf } from "./sagaProto.ts";
import { loadSagas } from "./sagaStore.ts";

export interface ReconcileDeps extends SagaDeps {
  /** Handles facts of the job context as the consumer does. */
  readonly handleJobFacts: (facts: readonly ReceivedFact[]) => Promise<void>;
  readonly tell: TellRepair;
  /** From one look to the next; also how long something may be under way before it counts. */
  readonly intervalMs: number;
}

export function startReconciling(app: App, deps: ReconcileDeps): Loop {
  const reconcileOnce = createReconcile(deps);
  return app.startLoop({ name: "reconcile-sagas", intervalMs: deps.intervalMs, once: reconcileOnce });
}

/** What a look has found, by what it would be repaired as. */
type Found = ReadonlyMap<string, ReadonlySet<string>>;

/** Gives back one look; it remembers what the look before has found. */
export function createReconcile(deps: ReconcileDeps): () => Promise<void> {
  let before: Found = new Map();
  return async () => {
    const found = new Map<string, ReadonlySet<string>>();
    /** What was found before too. */
    const again = (repair: string, ids: readonly string[]): readonly string[] => {
      found.set(repair, new Set(ids));
      return ids.filter((id) => before.get(repair)?.has(id) === true);
    };
    // One by one, and each whatever became of the others: a context that is away must not keep the rest from being looked at.
    const failures: unknown[] = [];
    for (const compare of [beginUnknown, endWithJob, releaseUnled, stopUnled]) {
      await compare(deps, again).catch((error: unknown) => {
        if (!isAway(error)) failures.push(error);
      });
    }
    before = found;
    if (failures.length > 0) throw failures[0];
  };
}

/** Of a context that is away, as all are when the platform starts, nothing is known; those that command it tell of that. */
function isAway(error: unknown): boolean {
  return error instanceof DomainError && error.code === "UNAVAILABLE";
}

type Again = (repair: string, ids: readonly string[]) => readonly string[];

/** As many as the internal RPCs take. */
const maxItems = 1_000;

async function inBatches<T, A>(items: readonly T[], size: number, ask: (some: readonly T[]) => Promise<readonly A[]>) {
  const answers: A[] = [];
  for (let from = 0; from < items.length; from += size) answers.push(...(await ask(items.slice(from, from + size))));
  return answers;
}

function minAgeOf({ intervalMs }: ReconcileDeps) {
  return { minAge: { seconds: Math.floor(intervalMs / 1_000), nanos: (intervalMs % 1_000) * 1_000_000 } };
}

async function beginUnknown(deps: ReconcileDeps, again: Again): Promise<void> {
  const { pool, contexts } = deps;
  const { attempts } = await contexts.jobs.listOpenAttempts(minAgeOf(deps));
  const open = new Map(attempts.map((each) => [sagaId(each.jobId, each.step, each.attempt), each]));
  const unknown = again("begin-saga", await inBatches([...open.keys()], maxItems, (ids) => findUnknown(pool, ids)));
  if (unknown.length === 0) return;
  const jobs = new Map(unknown.flatMap((id) => open.get(id) ?? []).map(({ jobId, tenant }) => [jobId, tenant]));
  // One by one: few are missed, and the facts of one job may be many.
  for (const [jobId, tenant] of jobs) await handleAll(deps, jobId, tenant);
  await deps.tell({
    repair: "begin-saga",
    message: "a step waited or ran and no saga knew it; the facts of its job were handled again",
    refs: unknown.map((id) => `${id} of job ${open.get(id)?.jobId}`),
  });
}

async function handleAll(deps: ReconcileDeps, jobId: string, tenant: string): Promise<void> {
  for await (const facts of factsOf(deps, jobId, tenant)) await deps.handleJobFacts(facts);
}

async function* factsOf({ contexts }: ReconcileDeps, jobId: string, tenant: string) {
  for (let afterSequence = 0; ; ) {
    const cursors = [{ jobId, afterSequence, newest: 0, onlyLabels: false }];
    const { pages } = await contexts.jobs.readJobEvents({ cursors, tenant });
    const events = pages[0]?.events ?? [];
    if (events.length === 0) return;
    yield events.map((event) => toReceived(event, jobId, tenant));
    afterSequence = events.at(-1)?.sequence ?? 0;
  }
}

function toReceived(fact: LoggedJobEvent, jobId: string, tenant: string): ReceivedFact {
  const [noun = "", event = ""] = fact.type.split(".").slice(3);
  const { id, type, sequence, causationId, traceparent, time, dataJson } = fact;
  return {
    ...{
      id,
      type,
      sequence,
      causationId,
      noun,
      event,
      tenant,
      data: JSON.parse(dataJson),
      context: "job",
      aggregateId: jobId,
      correlationId: jobId,
    },
    traceparent: traceparent === "" ? null : traceparent,
    time: time ?? new Date(0),
    stream: "",
    streamSequence: 0,
    deliveries: 1,
  };
}

/** Sagas of each kind that are looked at. */
const maxLongLived = 10_000;

async function endWithJob(deps: ReconcileDeps, again: Again): Promise<void> {
  const living = await listLongLived(deps.pool, deps.intervalMs, maxLongLived);
  const [over, cancelling] = [new Set<string>(), new Set<string>()];
  await inBatches([...new Set(living.map(({ jobId }) => jobId))], maxItems, async (jobIds) => {
    const { endedIds, unknownIds, cancellingIds } = await deps.contexts.jobs.findEndedJobs({ jobIds: [...jobIds] });
    for (const id of [...endedIds, ...unknownIds]) over.add(id);
    for (const id of cancellingIds) cancelling.add(id);
    return [];
  });
  const isOver = ({ jobId }: LongLived) => over.has(jobId);
  const left = again("end-saga", living.filter(isOver).map(idOf));
  await cancelAll(deps, left, { reason: "CANCELLED_BY_USER", message: "its job is over" });
  if (left.length > 0) {
    await deps.tell({
      repair: "end-saga",
      message: "a job was over and a saga of it was not; it was cancelled",
      refs: left,
    });
  }
  await cancelWithJob(
    deps,
    again,
    living.filter(({ jobId }) => cancelling.has(jobId)),
  );
}

/** Cancels the sagas of jobs that are being cancelled, unless their steps are spared by it. */
async function cancelWithJob(deps: ReconcileDeps, again: Again, living: readonly LongLived[]): Promise<void> {
  const unasked = new Map<string, Cancellation>();
  for (const [jobId, sagas] of Map.groupBy(living, (saga) => saga.jobId)) {
    for await (const facts of factsOf(deps, jobId, sagas[0]?.tenant ?? "")) {
      for (const cancellation of facts.flatMap((fact) => cancellationOf(fact) ?? [])) {
        for (const { id, step } of sagas) if (cancellation.isAsked(step)) unasked.set(id, cancellation);
      }
    }
  }
  const left = again("cancel-saga", [...unasked.keys()]);
  if (left.length === 0) return;
  for (const id of left) {
    const { reason, message } = unasked.get(id) as Cancellation;
    await cancelAll(deps, [id], { reason, message });
  }
  await deps.tell({
    repair: "cancel-saga",
    message: "a job was being cancelled and a saga of it went on; it was cancelled",
    refs: left,
  });
}

async function cancelAll(
  deps: ReconcileDeps,
  ids: readonly string[],
  why: { readonly reason: string; readonly message: string },
): Promise<void> {
  if (ids.length === 0) return;
  const sagas = await loadSagas(deps.pool, ids);
  await driveSagas(
    deps,
    [...sagas.values()].map((saga) => ({ saga, happened: [{ type: "cancelled", ...why }] })),
  );
}

function idOf({ id }: LongLived): string {
  return id;
}

async function releaseUnled(deps: ReconcileDeps, again: Again): Promise<void> {
  const { pool, contexts, tell } = deps;
  const { reservationIds } = await contexts.providers.listLiveReservations(minAgeOf(deps));
  const unled = again("release-reservation", await inBatches(reservationIds, maxItems, (ids) => findUnled(pool, ids)));
  if (unled.length === 0) return;
  await inBatches(unled, maxItems, async (ids) => {
    await contexts.providers.releaseReservations({ reservationIds: [...ids] });
    return [];
  });
  await tell({
    repair: "release-reservation",
    message: "capacity was held and no saga lived for it; it was given back",
    refs: unled,
  });
}

async function stopUnled(deps: ReconcileDeps, again: Again): Promise<void> {
  const { pool, contexts, tell } = deps;
  const { executions } = await contexts.executions.listLiveExecutions(minAgeOf(deps));
  const ids = executions.map(({ executionId }) => executionId);
  const unled = new Set(again("stop-execution", await inBatches(ids, maxItems, (some) => findUnled(pool, some))));
  if (unled.size === 0) return;
  const stops = executions
    .filter(({ executionId }) => unled.has(executionId))
    .map((execution) => ({ ...execution, reason: "REASON_OPERATOR" as const, message: "no saga leads it" }));
  await inBatches(stops, maxItems, async (some) => {
    await contexts.executions.stopExecutions({ stops: [...some] });
    return [];
  });
  const repair: Repair = {
    repair: "stop-execution",
    message: "an execution lived and no saga led it; it was stopped",
    refs: [...unled],
  };
  await tell(repair);
}
