/**
 * Does what queues want done about those that wait too long. Driven by timers, one for each waiting saga of a queue that has rules: no
 * other saga is ever looked at. Where nothing can be done at once (somebody is placing it at this moment) it is tried again soon.
 */
import { appendFacts, inTransaction } from "@capstan/postgres";
import { Placement } from "@capstan/proto/capstan/job/v1/spec.ts";
import { driveSagas, type SagaDeps } from "./driveSagas.ts";
import { whyWaiting } from "./explainJob.ts";
import type { KnownQueues } from "./knownQueues.ts";
import type { Placing } from "./placeSagas.ts";
import type { WaitRule } from "./queue.ts";
import { type Saga, specOf } from "./runJob.ts";
import { factOf, placementKeyOf } from "./sagaProto.ts";
import { readStandings } from "./sagaQueries.ts";
import { loadSagas, saveSagas } from "./sagaStore.ts";
import { nameOf, rulesDue } from "./waitRules.ts";
import { claimTimers, type DueTimer, moveWaiting, setTimers } from "./waitTimerStore.ts";

export interface WaitRuleDeps extends SagaDeps {
  readonly queues: Pick<KnownQueues, "of" | "all">;
  readonly placing: Pick<Placing, "waiting">;
}

const passLimit = 256;

interface Due {
  readonly saga: Saga;
  readonly rule: WaitRule;
  /** What it waits for, for people. */
  readonly why: string;
}

/** One pass; true when there may be more. Asks nothing while no queue has a rule. */
export async function followWaitRulesOnce(deps: WaitRuleDeps): Promise<boolean> {
  if (!deps.queues.all().some(({ settings }) => settings.onWait.length > 0)) return false;
  const timers = await claimTimers(deps.pool, passLimit);
  if (timers.length === 0) return false;
  const sagas = await loadSagas(
    deps.pool,
    timers.map(({ sagaId }) => sagaId),
  );
  const waiting = [...sagas.values()].filter(({ stage }) => stage === "WAITING");
  const standings = await readStandings(
    deps.pool,
    waiting.map(({ id }) => id),
  );
  const dues: Due[] = [];
  const next = timers.map(({ sagaId, done }): DueTimer & { nextMs: number | null } => {
    const saga = sagas.get(sagaId);
    if (saga?.stage !== "WAITING") return { sagaId, done, nextMs: null };
    const queue = deps.queues.of(saga.tenant, saga.queue);
    const { reason, message } = whyWaiting(saga, queue, standings.get(sagaId));
    const waitedMs = Date.now() - saga.readyTime.getTime();
    const { due, nextMs } = rulesDue(queue.settings.onWait, { reason, waitedMs, done });
    dues.push(...due.map((rule) => ({ saga, rule, why: `${reason}${message === "" ? "" : `: ${message}`}` })));
    return { sagaId, done: [...done, ...due.map(nameOf)], nextMs };
  });
  const failed = await follow(deps, dues);
  await setTimers(
    deps.pool,
    next.map((timer, index) => (failed.has(timer.sagaId) ? { ...(timers[index] as DueTimer), nextMs: 1_000 } : timer)),
  );
  return timers.length === passLimit;
}

/** Follows rules; gives back the ids of sagas that somebody else has moved meanwhile. */
async function follow(deps: WaitRuleDeps, dues: readonly Due[]): Promise<ReadonlySet<string>> {
  const of = (action: WaitRule["action"]) => dues.filter(({ rule }) => rule.action === action);
  const told = await notify(deps, of("NOTIFY"));
  /** As they are after they were told of. */
  const left = (some: readonly Due[]) =>
    some.flatMap(({ saga, ...due }): Due[] => {
      const after = told.has(saga.id) ? told.get(saga.id) : saga;
      return after ? [{ ...due, saga: after }] : [];
    });
  const unmoved = await move(deps, left(of("MOVE")));
  await driveSagas(
    deps,
    left(of("FAIL")).map(({ saga, why }) => {
      const waited = Math.round((Date.now() - saga.readyTime.getTime()) / 1_000);
      const message = `queue ${saga.queue} lets nothing wait for longer; after ${waited} s it waited for ${why}`;
      return { saga, happened: [{ type: "waitedTooLong", message }] };
    }),
  );
  return new Set([...unmoved, ...[...told].flatMap(([id, saga]) => (saga === null ? [id] : []))]);
}

/** Has another kind of place asked for; gives back the ids of those that were not moved. */
async function move(deps: WaitRuleDeps, dues: readonly Due[]): Promise<readonly string[]> {
  if (dues.length === 0) return [];
  const changes = dues.map(({ saga, rule }) => {
    const before = specOf(saga);
    // A provider that was asked for by name may be of another kind.
    const placement = { ...(before.placement ?? Placement.fromPartial({})), kind: rule.providerKind, provider: "" };
    const spec = { ...before, placement };
    return { ...saga, spec, placementKey: placementKeyOf(saga.tenant, spec) };
  });
  const ids = await moveWaiting(deps.pool, changes);
  deps.placing.waiting(changes.filter(({ id }) => ids.has(id)));
  return changes.map(({ id }) => id).filter((id) => !ids.has(id));
}

/** Tells of those that wait too long; gives each back as it is then, null if somebody else has moved it meanwhile. */
async function notify({ pool }: WaitRuleDeps, dues: readonly Due[]): Promise<ReadonlyMap<string, Saga | null>> {
  if (dues.length === 0) return new Map();
  const sagas = [...new Map(dues.map(({ saga }) => [saga.id, { ...saga, sequence: saga.sequence + 1 }])).values()];
  const saved = await inTransaction(pool, async (db) => {
    const ids = await saveSagas(db, sagas);
    const told = sagas.filter(({ id }) => ids.has(id)).map((saga) => factOf(saga, "overdue"));
    if (told.length > 0) await appendFacts(db, told);
    return ids;
  });
  return new Map(sagas.map((saga) => [saga.id, saved.has(saga.id) ? { ...saga, version: saga.version + 1 } : null]));
}
