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
 * What is found counts when the next look finds it again: whatever is on its way has arrived by then. A look reads one page of each list,
 * the next one the page after it, unless something was found: however much there is, all of it is looked at in the end. That a stage stands
 * still is none of this: wakeSagas.ts sends its command again.
 */
import { DomainError } from "@capstan/errors";
import { decodePageToken, encodePageToken } from "@capstan/grpc";
import type { ReceivedFact } from "@capstan/messaging";
import type { TellRepair } from "@capstan/postgres";
import type { LiveExecution } from "@capstan/proto/capstan/execution/v1/execution_internal_service.ts";
import type { LoggedJobEvent } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import type { App, Loop } from "@capstan/service";
import { driveSagas, type SagaDeps } from "./driveSagas.ts";
import { findUnknown, findUnled, type LongLived, listPlaced, listWaiting } from "./reconcileStore.ts";
import { sagaId } from "./runJob.ts";
import { type Cancellation, cancellationOf } from "./sagaProto.ts";
import { loadSagas } from "./sagaStore.ts";
import { type Comparison, type Suspect, walkPages } from "./walkPages.ts";

interface ReconcileDeps extends SagaDeps {
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

/** Gives back one look at all lists; it remembers where it is in each, and what the look before has found. */
function createReconcile(deps: ReconcileDeps): () => Promise<void> {
  const looks = [
    walkPages(begun),
    walkPages(endedAmong(listPlaced)),
    walkPages(endedAmong(listWaiting)),
    walkPages(released),
    walkPages(stopped),
  ];
  return async () => {
    // One by one, and each whatever became of the others: a context that is away must not keep the rest from being looked at.
    const failures: unknown[] = [];
    for (const look of looks) {
      await look(deps).catch((error: unknown) => {
        if (!isAway(error)) failures.push(error);
      });
    }
    if (failures.length > 0) throw failures[0];
  };
}

/** Of a context that is away, as all are when the platform starts, nothing is known; those that command it tell of that. */
function isAway(error: unknown): boolean {
  return error instanceof DomainError && error.code === "UNAVAILABLE";
}

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

interface Unknown extends Suspect {
  readonly jobId: string;
  readonly tenant: string;
}

const begun: Comparison<ReconcileDeps, Unknown> = {
  async find(deps, pageToken) {
    const { attempts, nextPageToken } = await deps.contexts.jobs.listOpenAttempts({ ...minAgeOf(deps), pageToken });
    const open = new Map(attempts.map((each) => [sagaId(each.jobId, each.step, each.attempt), each]));
    const unknown = await inBatches([...open.keys()], maxItems, (ids) => findUnknown(deps.pool, ids));
    const suspects = unknown.flatMap((id) => {
      const { jobId, tenant } = open.get(id) ?? {};
      return jobId === undefined || tenant === undefined ? [] : [{ id, jobId, tenant }];
    });
    return { suspects, nextPageToken };
  },

  async repair(deps, unknown) {
    const repaired: Unknown[] = [];
    const failures: unknown[] = [];
    // One by one: few are missed, the facts of one job may be many, and one that cannot be handled must not keep the others waiting.
    for (const [jobId, sagas] of Map.groupBy(unknown, (each) => each.jobId)) {
      await handleAll(deps, jobId, sagas[0]?.tenant ?? "").then(
        () => repaired.push(...sagas),
        (error: unknown) => failures.push(error),
      );
    }
    if (repaired.length > 0) {
      await deps.tell({
        repair: "begin-saga",
        message: "a step waited or ran and no saga knew it; the facts of its job were handled again",
        refs: repaired.map(({ id, jobId }) => `${id} of job ${jobId}`),
      });
    }
    if (failures.length > 0) throw failures[0];
  },
};

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

/** Sagas of one page. */
const pageLimit = 10_000;

interface Outlived extends Suspect {
  readonly repair: "end-saga" | "cancel-saga";
  readonly why: Pick<Cancellation, "reason" | "message">;
}

const outlivedMessages = {
  "end-saga": "a job was over and a saga of it was not; it was cancelled",
  "cancel-saga": "a job was being cancelled and a saga of it went on; it was cancelled",
} as const satisfies Record<Outlived["repair"], string>;

/** Sagas of jobs that are over or are being cancelled. */
function endedAmong(list: typeof listPlaced): Comparison<ReconcileDeps, Outlived> {
  return {
    async find(deps, pageToken) {
      const query = { list: list.name };
      const { sagas, last } = await list(
        deps.pool,
        deps.intervalMs,
        decodePageToken(pageToken, query) ?? [],
        pageLimit,
      );
      const { over, cancelling } = await findEnded(deps, sagas);
      const why = { reason: "CANCELLED_BY_USER", message: "its job is over" };
      const ended = over.map(({ id }): Outlived => ({ id, repair: "end-saga", why }));
      const cancelled = await findUncancelled(deps, cancelling);
      const nextPageToken = last === null ? "" : encodePageToken(query, last);
      return { suspects: [...ended, ...cancelled], nextPageToken };
    },

    async repair(deps, outlived) {
      for (const [repair, some] of Map.groupBy(outlived, (each) => each.repair)) {
        const refs = some.map(({ id }) => id);
        const sagas = await loadSagas(deps.pool, refs);
        await driveSagas(
          deps,
          some.flatMap(({ id, why }) => {
            const saga = sagas.get(id);
            return saga === undefined ? [] : [{ saga, happened: [{ type: "cancelled", ...why }] }];
          }),
        );
        await deps.tell({ repair, message: outlivedMessages[repair], refs });
      }
    },
  };
}

/** Those whose job is over, and those whose job is being cancelled. */
async function findEnded({ contexts }: ReconcileDeps, sagas: readonly LongLived[]) {
  const [over, cancelling] = [new Set<string>(), new Set<string>()];
  await inBatches([...new Set(sagas.map(({ jobId }) => jobId))], maxItems, async (jobIds) => {
    const { endedIds, unknownIds, cancellingIds } = await contexts.jobs.findEndedJobs({ jobIds: [...jobIds] });
    for (const id of [...endedIds, ...unknownIds]) over.add(id);
    for (const id of cancellingIds) cancelling.add(id);
    return [];
  });
  return {
    over: sagas.filter(({ jobId }) => over.has(jobId)),
    cancelling: sagas.filter(({ jobId }) => cancelling.has(jobId)),
  };
}

/** Of sagas whose jobs are being cancelled those whose steps are not spared by it. */
async function findUncancelled(deps: ReconcileDeps, sagas: readonly LongLived[]): Promise<readonly Outlived[]> {
  const uncancelled = new Map<string, Outlived>();
  for (const [jobId, some] of Map.groupBy(sagas, (saga) => saga.jobId)) {
    for await (const facts of factsOf(deps, jobId, some[0]?.tenant ?? "")) {
      for (const { reason, message, isAsked } of facts.flatMap((fact) => cancellationOf(fact) ?? [])) {
        for (const { id, step } of some) {
          if (isAsked(step)) uncancelled.set(id, { id, repair: "cancel-saga", why: { reason, message } });
        }
      }
    }
  }
  return [...uncancelled.values()];
}

const released: Comparison<ReconcileDeps, Suspect> = {
  async find(deps, pageToken) {
    const page = await deps.contexts.providers.listLiveReservations({ ...minAgeOf(deps), pageToken });
    const unled = await inBatches(page.reservationIds, maxItems, (ids) => findUnled(deps.pool, ids));
    return { suspects: unled.map((id) => ({ id })), nextPageToken: page.nextPageToken };
  },

  async repair({ contexts, tell }, unled) {
    const refs = unled.map(({ id }) => id);
    await inBatches(refs, maxItems, async (ids) => {
      await contexts.providers.releaseReservations({ reservationIds: [...ids] });
      return [];
    });
    await tell({
      repair: "release-reservation",
      message: "capacity was held and no saga lived for it; it was given back",
      refs,
    });
  },
};

const stopped: Comparison<ReconcileDeps, Suspect & LiveExecution> = {
  async find(deps, pageToken) {
    const page = await deps.contexts.executions.listLiveExecutions({ ...minAgeOf(deps), pageToken });
    const live = new Map(page.executions.map((execution) => [execution.executionId, execution]));
    const unled = await inBatches([...live.keys()], maxItems, (ids) => findUnled(deps.pool, ids));
    const suspects = unled.flatMap((id) => {
      const execution = live.get(id);
      return execution === undefined ? [] : [{ id, ...execution }];
    });
    return { suspects, nextPageToken: page.nextPageToken };
  },

  async repair({ contexts, tell }, unled) {
    const why = { reason: "REASON_OPERATOR" as const, message: "no saga leads it" };
    const stops = unled.map(({ id: _, ...execution }) => ({ ...execution, ...why }));
    await inBatches(stops, maxItems, async (some) => {
      await contexts.executions.stopExecutions({ stops: [...some] });
      return [];
    });
    await tell({
      repair: "stop-execution",
      message: "an execution lived and no saga led it; it was stopped",
      refs: unled.map(({ id }) => id),
    });
  },
};
