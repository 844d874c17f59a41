/**
 * The placing of sagas: of those that come while nothing waits straight from memory, of the others in the order of their turns; asks for
 * their capacity in one call, and starts what was held.
 *
 * When a request is refused, everything with the same placement key would be refused too: that key is blocked, and nothing of it is
 * looked at until something has ended. What becomes free then is offered to those whose turn it is, whatever their keys. So a long queue
 * before a full provider costs nothing, holds up nothing that waits for another, and lets the more urgent pass.
 */
import type { App, Loop } from "@capstan/service";
import { driveSagas, type Move, type SagaDeps, saveMoves, settleCommands } from "./driveSagas.ts";
import type { KnownQueues } from "./knownQueues.ts";
import { createTurns, type HeldSaga, laneOf, type NewLane, type Turns, toldPerLane } from "./nextTurns.ts";
import { reserve } from "./perform.ts";
import { isLimited, isOpen } from "./queue.ts";
import { deleteBegun, findRunningOfKeys } from "./queueStore.ts";
import type { RecentSagas } from "./recentSagas.ts";
import { type Advance, advance, type Happened, type Saga } from "./runJob.ts";
import { placementOf } from "./sagaProto.ts";

interface PlaceDeps extends Omit<SagaDeps, "onFreed"> {
  /** Called with sagas whose place was just saved. */
  readonly onPlaced: (sagas: readonly Saga[]) => void;
  readonly queues: KnownQueues;
  readonly recent: Pick<RecentSagas, "keep">;
}

const passLimit = 500;
const intervalMs = 4_000;
/** Sagas that other replicas have left are looked for in every pass that nobody woke. */
const lookMs = 0.8 * intervalMs;
/** Of several keys, some of those whose turn it is may not fit what became free: so many more are asked for. */
const spare = 8;
/** Blocked keys are tried again after this, in case capacity came from somewhere this replica has not seen. */
const probeMs = 1_000;
/** How many keys a probe tries, in turn, and how many sagas of each. */
const probeKeys = 32;
const probeLimit = 16;

/** Sagas handed in and not yet tried at most; more wait in the database. */
const maxFresh = 2_000;

export interface Placing extends Loop {
  /** Nothing is known to wait for the same, and its queue holds nothing back, so that a new saga may be placed at once. */
  isOpen(saga: NewLane): boolean;
  /** New sagas, claimed by this replica. */
  place(sagas: readonly Saga[]): void;
  /** These wait from now on. */
  waiting(sagas: readonly NewLane[]): void;
  /** These have ended: as many others may be tried. */
  freed(sagas: readonly Saga[]): void;
  /** The settings of a queue have changed. */
  requeued(): void;
}

export function startPlacing(app: App, deps: PlaceDeps): Placing {
  const { queues } = deps;
  const turns = createTurns(deps);
  /** Each blocked key with how many of its sagas may be tried. */
  const blocked = new Map<string, number>();
  let probe: NodeJS.Timeout | null = null;
  let rateTimer: NodeJS.Timeout | null = null;
  const fresh: Saga[] = [];
  let ended = 0;
  // Told of so often that something waits whose key is not blocked, and looked at after so many of these.
  let told = 1;
  let looked = 0;
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  /** Something waits in a queue with limits, or may go on in one: to be looked at without holding up what comes to the others. */
  let isAsked = false;
  const queueOf = ({ tenant, queue }: NewLane) => queues.of(tenant, queue);

  const loop = app.startLoop({
    name: "place-sagas",
    intervalMs,
    once: async () => {
      if (await queues.refresh()) isAsked = true;
      const isMoreFresh = await placeFresh();
      const places = ended;
      ended = 0;
      if (places > 0) await placeFreed(places);
      const isLook = performance.now() - lookedAtMs > lookMs;
      if (isAsked || told > looked || isLook) {
        const now = told;
        isAsked = false;
        if (isLook) lookedAtMs = performance.now();
        const triesOf = (key: string) => (blocked.has(key) ? 0 : Number.POSITIVE_INFINITY);
        const { isMore, refused } = await placeNext({ triesOf, limit: passLimit, isLook });
        for (const key of refused) blocked.set(key, 0);
        if (!isMore) looked = now;
        else isAsked = true;
      }
      const hasRoom = await placeBlockedKeys();
      if (blocked.size > 0) probe ??= setTimeout(probeNow, probeMs);
      const rateMs = turns.nextRateMs();
      if (rateMs !== null) rateTimer ??= setTimeout(askAgain, Math.min(rateMs + 1, intervalMs));
      return isMoreFresh || told > looked || isAsked || hasRoom;
    },
  });

  /** Places what was handed in, those first whose turn it is; true when there is more. */
  async function placeFresh(): Promise<boolean> {
    const due = fresh.sort((a, b) => a.orderTime.getTime() - b.orderTime.getTime()).splice(0, passLimit);
    // Their queue was given limits while they were on their way.
    const isShut = (saga: Saga) => !isOpen(queueOf(saga));
    if (due.some(isShut)) {
      const back = due.filter(isShut);
      await giveBack(deps, back);
      turns.note(back.map(laneOf));
      isAsked = true;
    }
    const { refused } = await placeSagas(
      deps,
      due.filter((saga) => !isShut(saga)),
      turns,
    );
    for (const key of refused) blocked.set(key, 0);
    return fresh.length > 0;
  }

  async function placeNext(wanted: Parameters<Turns["take"]>[0]) {
    const taken = await turns.take(wanted);
    const placed = await placeSagas(deps, taken.turns, turns);
    turns.charge(placed.held);
    if (taken.held.length > 0) {
      await tellHeld(deps, taken.held);
      turns.note(taken.held.map(({ saga }) => laneOf(saga)));
    }
    return { turns: taken.turns, isMore: taken.isMore, refused: placed.refused };
  }

  /** Offers as many places as became free to those whose turn it is, of all. */
  async function placeFreed(places: number): Promise<void> {
    const limit = Math.min(passLimit, places + (blocked.size > 1 ? spare : 0));
    const { turns: tried, refused } = await placeNext({
      triesOf: () => Number.POSITIVE_INFINITY,
      limit,
      isLook: false,
    });
    for (const key of refused) blocked.set(key, 0);
    for (const { placementKey: key } of tried) {
      if (!refused.has(key) && blocked.has(key)) blocked.set(key, Math.max(0, (blocked.get(key) ?? 0) - 1));
    }
  }

  /** Tries as many of each blocked key as may be tried; true when more may be. A key of which nothing waits is blocked no longer. */
  async function placeBlockedKeys(): Promise<boolean> {
    const due = new Map([...blocked].filter(([, tries]) => tries > 0));
    if (due.size === 0) return false;
    const wanted = { triesOf: (key: string) => due.get(key) ?? 0, limit: passLimit, isLook: false };
    const { turns: tried, refused } = await placeNext(wanted);
    const byKey = Map.groupBy(tried, ({ placementKey }) => placementKey);
    for (const [key, tries] of due) {
      const count = byKey.get(key)?.length ?? 0;
      const now = blocked.get(key) ?? 0;
      if (refused.has(key)) blocked.set(key, 0);
      else if (count < tries && tried.length < passLimit) blocked.delete(key);
      // Others may have ended meanwhile. All that a probe tried has fitted: perhaps more does.
      else blocked.set(key, count >= probeLimit ? now : now - count);
    }
    return [...blocked.values()].some((tries) => tries > 0);
  }

  function probeNow(): void {
    probe = null;
    for (const key of [...blocked.keys()].slice(0, probeKeys)) {
      const tries = Math.max(blocked.get(key) ?? 0, probeLimit);
      // Taken out and put back at the end, so that the next probe begins with others.
      blocked.delete(key);
      blocked.set(key, tries);
    }
    loop.wake();
  }

  function askAgain(): void {
    rateTimer = null;
    isAsked = true;
    loop.wake();
  }
  app.onStop(() => {
    clearTimeout(probe ?? undefined);
    clearTimeout(rateTimer ?? undefined);
  });
  return {
    ...loop,
    isOpen: (saga) =>
      told === looked && !blocked.has(saga.placementKey) && fresh.length < maxFresh && isOpen(queueOf(saga)),
    place(sagas) {
      if (sagas.length === 0) return;
      fresh.push(...sagas);
      loop.wake();
    },
    waiting(sagas) {
      if (sagas.length === 0) return;
      turns.note(sagas.map(laneOf));
      const isHeld = (saga: NewLane) => !isOpen(queueOf(saga));
      if (sagas.some(isHeld)) isAsked = true;
      if (sagas.some((saga) => !isHeld(saga) && !blocked.has(saga.placementKey))) told += 1;
      if (isAsked || told > looked) loop.wake();
    },
    freed(sagas) {
      if (sagas.some((saga) => isLimited(queueOf(saga)))) askAgain();
      if (blocked.size === 0) return;
      ended += sagas.length;
      for (const { placementKey } of sagas) {
        const tries = blocked.get(placementKey);
        if (tries !== undefined) blocked.set(placementKey, tries + 1);
      }
      loop.wake();
    },
    requeued() {
      queues.expire();
      loop.wake();
    },
  };
}

interface Outcome {
  /** Those that have a place now. */
  readonly held: readonly Saga[];
  /** The placement keys of those that were refused for want of one. */
  readonly refused: ReadonlySet<string>;
}

/** Places claimed sagas. */
async function placeSagas(deps: PlaceDeps, sagas: readonly Saga[], turns: Turns): Promise<Outcome> {
  if (sagas.length === 0) return { held: [], refused: new Set() };
  const answers = await reserve(deps.contexts, sagas);
  const toldOf = new Map<string, number>();
  const happened = answers.map((answer, index): Happened | null => {
    if (!answer.ok) return { type: answer.isFinal ? "commandRefused" : "commandFailed", message: answer.message };
    const placement = placementOf(answer.value);
    if (placement.type !== "notPlaced") return placement;
    const key = sagas[index]?.placementKey ?? "";
    toldOf.set(key, (toldOf.get(key) ?? 0) + 1);
    // A storm of them would be a storm of reports: the rest stand behind the first.
    return (toldOf.get(key) ?? 0) > toldPerLane ? null : placement;
  });
  const advances = sagas.map((saga, index) => {
    const what = happened[index] ?? null;
    return what === null ? { saga, commands: [] } : advance(saga, what);
  });
  // What is held is saved before anything is started: a crash in between only sends the same start again. What was moved by a
  // cancel meanwhile is not saved; the cancel also gives back its capacity.
  const saved = await saveMoves(
    deps,
    advances.map(({ saga }, index) => ({ before: sagas[index] ?? saga, after: saga })),
  );
  const due = advances.filter(({ saga, commands }) => saved.has(saga.id) && commands.length > 0);
  const held = due.map(({ saga }) => saga).filter(({ stage }) => stage === "RESERVED");
  const waiting = advances.filter(({ saga }) => saga.stage === "WAITING");
  if (waiting.length > 0) {
    turns.note(waiting.map(({ saga }) => laneOf(saga)));
    await forgetBegun(
      deps,
      waiting.map(({ saga }) => saga),
    );
  }
  deps.onPlaced(held);
  // Before they are asked for: the end of a short one may come first.
  deps.recent.keep(held.map((saga) => ({ ...saga, version: saga.version + 1 })));
  await startHeld(
    deps,
    due.map(({ saga, commands }) => ({ saga: { ...saga, version: saga.version + 1 }, commands })),
  );
  return { held, refused: new Set(toldOf.keys()) };
}

/** What did not begin after all costs its queue nothing of its rate. */
async function forgetBegun({ pool, queues }: PlaceDeps, sagas: readonly Saga[]): Promise<void> {
  const rated = sagas.filter(({ tenant, queue }) => {
    const { rate, ratePerKey } = queues.of(tenant, queue).settings;
    return rate !== null || ratePerKey !== null;
  });
  if (rated.length === 0) return;
  await deleteBegun(
    pool,
    rated.map(({ id }) => id),
  );
}

async function startHeld(deps: Pick<PlaceDeps, "pool" | "contexts">, due: readonly Advance[]): Promise<void> {
  const settled = await settleCommands(deps.contexts, due);
  const moves = settled.flatMap(({ saga: after }, index): Move[] => {
    const before = due[index]?.saga ?? after;
    return after === before ? [] : [{ before, after }];
  });
  await saveMoves(deps, moves);
}

/** Ends the claim of sagas, as they are. */
async function giveBack(deps: Pick<PlaceDeps, "pool">, sagas: readonly Saga[]): Promise<void> {
  await saveMoves(
    deps,
    sagas.map((saga) => ({ before: saga, after: saga })),
  );
}

/** Says why these are held back; drops those, and cancels for those, for which their queue wants it so. */
async function tellHeld(deps: PlaceDeps, held: readonly HeldSaga[]): Promise<void> {
  const isDropped = ({ queue, reason }: HeldSaga) =>
    reason === "KEY_LIMIT" && queue.settings.keyPolicy === "DROP_NEWEST";
  const dropped = held.filter(isDropped);
  await driveSagas(
    { ...deps, onFreed: () => {} },
    dropped.map(({ saga, message }) => ({ saga, happened: [{ type: "cancelled", reason: "DROPPED", message }] })),
  );
  const advances = held
    .filter((each) => !isDropped(each))
    .map(({ saga, reason, message }) => ({ before: saga, ...advance(saga, { type: "notPlaced", reason, message }) }));
  const saved = await saveMoves(
    deps,
    advances.map(({ before, saga }) => ({ before, after: saga })),
  );
  const due = advances.filter(({ saga, commands }) => saved.has(saga.id) && commands.length > 0);
  await startHeld(
    deps,
    due.map(({ saga, commands }) => ({ saga: { ...saga, version: saga.version + 1 }, commands })),
  );
  await replaceRunning(
    deps,
    held.filter(({ queue, reason }) => reason === "KEY_LIMIT" && queue.settings.keyPolicy === "CANCEL_RUNNING"),
  );
}

/** Cancels the jobs in whose place these shall run. Asked once for each that comes: a repetition finds them CANCELLING. */
async function replaceRunning({ pool, contexts }: PlaceDeps, held: readonly HeldSaga[]): Promise<void> {
  if (held.length === 0) return;
  const running = await findRunningOfKeys(
    pool,
    held.map(({ saga }) => saga),
  );
  const message = "a newer job with its key takes its place";
  for (let from = 0; from < running.length; from += 1_000) {
    const jobIds = running.slice(from, from + 1_000);
    await contexts.jobs.cancelJobs({ jobIds, reason: "REASON_REPLACED", message });
  }
}
