/**
 * The scheduling pass: reads the heads of the waiting lists, asks `shareTurns` whose turn it is, and claims those. Where a queue has
 * limits, its row is locked meanwhile and what runs of it is counted under that lock, so that replicas that schedule at once follow
 * one another and no limit is exceeded at any instant. Where none has, there is no transaction; and where there is only one list, not
 * even a look at its heads.
 */
import { type Db, inTransaction, type Pool } from "@capstan/postgres";
import type { KnownQueues } from "./knownQueues.ts";
import { isLimited, isOpen, type Queue, unsetQueue } from "./queue.ts";
import { isQueueReason, whyHeld } from "./queueReasons.ts";
import { type Begun, countRunning, insertBegun, lockQueues, pruneBegun, readBegun, type Usage } from "./queueStore.ts";
import type { Saga } from "./runJob.ts";
import {
  atTheBeginning,
  charge,
  type Held,
  type Lane,
  type LaneKey,
  type Room,
  shareTurns,
  type Turn,
} from "./shareTurns.ts";
import {
  claimFirst,
  claimSagas,
  laneId,
  type QueueKey,
  readHeads,
  readHeadsOf,
  type WaitingHead,
  type Window,
} from "./waitingStore.ts";

/** A claimed saga whose queue holds it back; QUEUED when nothing but its turn is missing any more. */
export interface HeldSaga {
  readonly saga: Saga;
  readonly queue: Queue;
  readonly reason: string;
  readonly message: string;
}

export interface Taken {
  /** Claimed, in the order of their turns. */
  readonly turns: readonly Saga[];
  /** Claimed, because the reason for which they wait has changed. */
  readonly held: readonly HeldSaga[];
  /** There may be more that could be placed now. */
  readonly isMore: boolean;
}

export interface Wanted {
  /** How many with this placement key may be tried. */
  readonly triesOf: (placementKey: string) => number;
  readonly limit: number;
  /** Whether to look for lists that nobody has told of here. */
  readonly isLook: boolean;
}

export interface Turns {
  take(wanted: Wanted): Promise<Taken>;
  /** These had their turn, and a place. */
  charge(placed: readonly Saga[]): void;
  /** Something waits in these lists. */
  note(lanes: readonly LaneKey[]): void;
  /** Milliseconds until a rate lets something begin that it has held back; null when none has. */
  nextRateMs(): number | null;
}

/** Looked at in one pass: so many queues, so many of their lists in all, and so many heads of them. */
const maxQueues = 64;
const maxLanes = 256;
const maxHeads = 1_000;
/** Of each list so many heads are read at least: a limit lets few of a long list go at a time. */
const leastDepth = 32;
const fewestHeads = 4;
/** Of more lists than one pass looks at, so many passes go on at once when nobody has a turn; the next look goes on from there. */
const maxEmptyLooks = 32;
/** Of those that wait for the same, so many are told why. The others stand behind them, and are QUEUED. */
export const toldPerLane = 16;

export function laneOf({ tenant, queue, concurrencyKey: key, placementKey }: NewLane): LaneKey {
  return { tenant, queue, key, placementKey };
}

/** What of a saga says where it waits. */
export type NewLane = Pick<Saga, "tenant" | "queue" | "concurrencyKey" | "placementKey">;

export function createTurns({ pool, queues }: { readonly pool: Pool; readonly queues: KnownQueues }): Turns {
  let times = atTheBeginning;
  /** Every list there is, as far as this replica knows; null when there are too many to know. */
  let known: Map<string, LaneKey> | null = null;
  let afterQueue: QueueKey = { tenant: "", queue: "" };
  const afterLanes = new Map<string, LaneKey>();
  let queuesSeen = 1;
  let rateMs: number | null = null;
  /** Looks in a row at a part of the lists that gave nobody a turn. */
  let emptyLooks = 0;
  /** How many heads of a list are worth reading. */
  let depth = leastDepth;

  async function take(wanted: Wanted): Promise<Taken> {
    rateMs = null;
    return known === null || wanted.isLook ? takeFromWindow(wanted) : takeFromKnown(known, wanted);
  }

  async function takeFromKnown(lists: Map<string, LaneKey>, wanted: Wanted): Promise<Taken> {
    // What no place can be had for is passed over, unless its queue has something to say.
    const isShut = ({ tenant, queue }: LaneKey) => !isOpen(queues.of(tenant, queue));
    const some = [...lists.values()].filter((lane) => wanted.triesOf(lane.placementKey) > 0 || isShut(lane));
    const [first, second] = some;
    if (first === undefined) return { turns: [], held: [], isMore: false };
    if (second === undefined && !isShut(first)) return takeFirst(first, wanted);
    const headsPerLane = headsFor(some.length, Math.min(wanted.limit, depth), some.some(isShut));
    const lanes = await readHeadsOf(pool, some, headsPerLane);
    for (const lane of lanes) if (lane.heads.length === 0) lists.delete(laneId(lane));
    const isFull = lanes.some(({ heads }) => heads.length === headsPerLane);
    const taken = await takeFrom(lanes, wanted);
    const { length } = taken.turns;
    noteDepth(lanes, length);
    return { ...taken, isMore: length > 0 && (isFull || length === wanted.limit) };
  }

  async function takeFromWindow(wanted: Wanted): Promise<Taken> {
    const window: Window = {
      queues: maxQueues,
      lanesPerQueue: Math.max(4, Math.floor(maxLanes / queuesSeen)),
      headsPerLane: headsFor(known?.size ?? maxLanes, Math.min(wanted.limit, depth), queues.all().some(isHolding)),
      afterQueue,
      afterLanes: [...afterLanes.values()],
    };
    const lanes = await readHeads(pool, window);
    const isAll = goOn(lanes, window);
    const taken = await takeFrom(lanes, wanted);
    noteDepth(lanes, taken.turns.length);
    emptyLooks = taken.turns.length > 0 ? 0 : emptyLooks + 1;
    const isMore = isAll ? taken.turns.length > 0 : emptyLooks < maxEmptyLooks;
    if (!isMore) emptyLooks = 0;
    return { ...taken, isMore };
  }

  /** Where most of what is read has its turn, more is worth reading; where most is held back, less. */
  function noteDepth(lanes: readonly Lane<WaitingHead>[], turns: number): void {
    const read = lanes.reduce((sum, { heads }) => sum + heads.length, 0);
    if (read > 0 && turns >= 0.8 * read) depth = Math.min(maxHeads, 4 * depth);
    else if (turns < 0.2 * read) depth = Math.max(leastDepth, Math.floor(depth / 4));
  }

  /** Where the next look begins; true when this one saw every list. */
  function goOn(lanes: readonly Lane<WaitingHead>[], window: Window): boolean {
    const byQueue = Map.groupBy(lanes, ({ tenant, queue }) => `${tenant}\0${queue}`);
    const wasWhole = window.afterQueue.queue === "" && window.afterLanes.length === 0;
    const isLastQueue = byQueue.size < window.queues;
    const last = lanes.at(-1);
    afterQueue =
      isLastQueue || last === undefined ? { tenant: "", queue: "" } : { tenant: last.tenant, queue: last.queue };
    queuesSeen = Math.max(1, byQueue.size);
    for (const [path, some] of byQueue) {
      const end = some.at(-1);
      if (some.length === window.lanesPerQueue && end !== undefined) afterLanes.set(path, end);
      else afterLanes.delete(path);
    }
    const isWhole = isLastQueue && afterLanes.size === 0;
    known = wasWhole && isWhole ? new Map(lanes.map((lane) => [laneId(lane), laneKeyOf(lane)])) : null;
    return isWhole;
  }

  async function takeFirst(lane: LaneKey, { limit, triesOf }: Wanted): Promise<Taken> {
    const most = Math.min(limit, triesOf(lane.placementKey));
    const turns = most > 0 ? await claimFirst(pool, lane, most) : [];
    if (turns.length < most) known?.delete(laneId(lane));
    return { turns, held: [], isMore: most > 0 && turns.length === most };
  }

  async function takeFrom(lanes: readonly Lane<WaitingHead>[], wanted: Wanted): Promise<Pick<Taken, "turns" | "held">> {
    const limited = new Map<string, QueueKey>();
    for (const { tenant, queue } of lanes) {
      if (isLimited(queues.of(tenant, queue))) limited.set(`${tenant}\0${queue}`, { tenant, queue });
    }
    if (limited.size === 0) return decide(pool, lanes, wanted, { queueOf: queues.of, usage: [], begun: [] });
    return inTransaction(pool, async (db) => decide(db, lanes, wanted, await countUnderLock(db, limited)));
  }

  async function countUnderLock(db: Db, limited: ReadonlyMap<string, QueueKey>): Promise<Counted> {
    const locked = new Map((await lockQueues(db, [...limited.values()])).map((queue) => [pathOf(queue), queue]));
    const queueOf = (tenant: string, name: string): Queue => {
      const path = `${tenant}\0${name}`;
      return limited.has(path) ? (locked.get(path) ?? unsetQueue(tenant, name)) : queues.of(tenant, name);
    };
    const rated = [...locked.values()].flatMap(({ tenant, name: queue, settings: { rate, ratePerKey } }) =>
      rate === null && ratePerKey === null
        ? []
        : [{ tenant, queue, periodMs: rate?.periodMs ?? 0, keyPeriodMs: ratePerKey?.periodMs ?? 0 }],
    );
    const usage = await countRunning(db, [...limited.values()]);
    const begun = rated.length === 0 ? [] : await readBegun(db, rated);
    return { queueOf, usage, begun };
  }

  async function decide(
    db: Db,
    lanes: readonly Lane<WaitingHead>[],
    { triesOf, limit }: Wanted,
    counted: Counted,
  ): Promise<Pick<Taken, "turns" | "held">> {
    const { turns, held } = shareTurns({
      ...{ lanes, triesOf, limit, times },
      roomOf: (tenant, queue) => roomOf(counted, tenant, queue),
    });
    const told = newsOf(lanes, turns, held, counted.queueOf);
    const ids = turns.map(({ head }) => head.id);
    const isCounted = ({ tenant, queue }: QueueKey) => isLimited(counted.queueOf(tenant, queue));
    const countedIds = turns.filter(({ lane }) => isCounted(lane)).map(({ head }) => head.id);
    const claimed = await claimSagas(db, [...ids, ...told.keys()], countedIds);
    const first = claimed.filter(({ id }) => !told.has(id));
    const rated = first.filter(({ tenant, queue }) => isRated(counted.queueOf(tenant, queue)));
    if (rated.length > 0) {
      await insertBegun(db, rated);
      for (const { tenant, queue } of new Map(
        rated.map((saga) => [pathOf({ tenant: saga.tenant, name: saga.queue }), saga]),
      ).values()) {
        await pruneBegun(db, { tenant, queue }, 2 * longestPeriodMs(counted.queueOf(tenant, queue)));
      }
    }
    if (held.some(({ reason }) => reason === "RATE_LIMIT" || reason === "KEY_RATE_LIMIT")) {
      rateMs =
        counted.begun.reduce<number | null>((least, { nextMs }) => Math.min(least ?? nextMs, nextMs), null) ?? 1_000;
    }
    return {
      turns: first,
      held: claimed.flatMap((saga) => {
        const why = told.get(saga.id);
        return why === undefined ? [] : [{ saga, ...why }];
      }),
    };
  }

  return {
    take,
    charge(placed) {
      const weightOf = (tenant: string, queue: string) => queues.of(tenant, queue).settings.weight;
      times = charge(times, placed.map(laneOf), weightOf);
    },
    note(lanes) {
      if (known === null) return;
      for (const lane of lanes) known.set(laneId(lane), lane);
      if (known.size > maxLanes) known = null;
    },
    nextRateMs: () => rateMs,
  };
}

interface Counted {
  readonly queueOf: (tenant: string, queue: string) => Queue;
  readonly usage: readonly Usage[];
  readonly begun: readonly Begun[];
}

/** Of many lists few have more than a few turns in one pass. Where something is held back, the first of each list are told why. */
function headsFor(lanes: number, limit: number, isHeldBack: boolean): number {
  const share = Math.ceil((2 * limit) / Math.max(1, lanes));
  return Math.max(
    isHeldBack ? toldPerLane : fewestHeads,
    Math.min(limit, share, Math.floor(maxHeads / Math.max(1, lanes))),
  );
}

function laneKeyOf({ tenant, queue, key, placementKey }: LaneKey): LaneKey {
  return { tenant, queue, key, placementKey };
}

function isHolding(queue: Queue): boolean {
  return !isOpen(queue);
}

function pathOf({ tenant, name }: Pick<Queue, "tenant" | "name">): string {
  return `${tenant}\0${name}`;
}

function isRated({ settings: { rate, ratePerKey } }: Queue): boolean {
  return rate !== null || ratePerKey !== null;
}

function longestPeriodMs({ settings: { rate, ratePerKey } }: Queue): number {
  return Math.max(rate?.periodMs ?? 0, ratePerKey?.periodMs ?? 0);
}

const endless = Number.POSITIVE_INFINITY;

function roomOf({ queueOf, usage, begun }: Counted, tenant: string, name: string): Room {
  const queue = queueOf(tenant, name);
  const { maxRunning, maxRunningPerKey, rate, ratePerKey, weight } = queue.settings;
  const isOf = (some: QueueKey) => some.tenant === tenant && some.queue === name;
  const running = usage.filter(isOf);
  const begunHere = begun.filter(isOf);
  const sum = (counts: readonly number[]) => counts.reduce((a, b) => a + b, 0);
  return {
    isPaused: queue.pauseTime !== null,
    weight,
    running: maxRunning === 0 ? endless : maxRunning - sum(running.map((each) => each.running)),
    rate: rate === null ? endless : rate.count - sum(begunHere.map((each) => each.begun)),
    runningOfKey: (key) =>
      maxRunningPerKey === 0 ? endless : maxRunningPerKey - (running.find((each) => each.key === key)?.running ?? 0),
    rateOfKey: (key) =>
      ratePerKey === null ? endless : ratePerKey.count - (begunHere.find((each) => each.key === key)?.begunOfKey ?? 0),
  };
}

interface Why {
  readonly queue: Queue;
  readonly reason: string;
  readonly message: string;
}

/** The first of each list whose reason is not what it was, with what it is now. */
function newsOf(
  lanes: readonly Lane<WaitingHead>[],
  turns: readonly Turn<WaitingHead>[],
  held: readonly Held<WaitingHead>[],
  queueOf: Counted["queueOf"],
): ReadonlyMap<string, Why> {
  const news = new Map<string, Why>();
  const heldLanes = new Set(held.map(({ lane }) => lane));
  for (const { lane, heads, reason } of held) {
    const queue = queueOf(lane.tenant, lane.queue);
    const why = { queue, ...whyHeld(queue, lane.key, reason) };
    // Whoever is dropped does not wait behind the others.
    const isDropped = why.reason === "KEY_LIMIT" && queue.settings.keyPolicy === "DROP_NEWEST";
    for (const head of isDropped ? heads : heads.slice(0, toldPerLane)) {
      if (isDropped || head.reason !== why.reason || head.message !== why.message) news.set(head.id, why);
    }
  }
  const taken = new Set(turns.map(({ head }) => head.id));
  for (const lane of lanes) {
    if (heldLanes.has(lane)) continue;
    const queue = queueOf(lane.tenant, lane.queue);
    for (const head of lane.heads.slice(0, toldPerLane)) {
      if (!taken.has(head.id) && isQueueReason(head.reason))
        news.set(head.id, { queue, reason: "QUEUED", message: "" });
    }
  }
  return news;
}
