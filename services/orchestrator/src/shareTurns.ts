/**
 * Whose turn it is: one pure function over the heads of the waiting lists, which the service and the simulation use alike.
 *
 * Weighted fair queueing by virtual time (start-time fair queueing: Goyal, Vin, Cheng 1996), at three levels one inside the other:
 * tenants, the queues of a tenant by their weights, the keys of a queue. At each level the one with the lowest virtual time goes
 * first; each turn moves it on by 1 / weight; who comes back after a pause begins where the others are. So who floods, or spreads
 * itself over many keys or queues, has no more turns than the level above gives to it as a whole. Inside a key the order is that of
 * the list: priority with ageing, then the earliest deadline, then age.
 *
 * Virtual times are moved on only by what was placed (`charge`): what is refused for want of a place costs no turn.
 */

/** One that waits. Those of a lane are given in their order. */
export interface Head {
  readonly id: string;
  /** See `orderTimeOf`. */
  readonly orderMs: number;
  /** Infinity without a deadline. */
  readonly deadlineMs: number;
  readonly position: number;
}

/** Those of one tenant, queue and key that want the same kind of place. */
export interface LaneKey {
  readonly tenant: string;
  readonly queue: string;
  readonly key: string;
  readonly placementKey: string;
}

export interface Lane<H extends Head = Head> extends LaneKey {
  readonly heads: readonly H[];
}

/** What a queue lets through at this moment. Infinity: as many as come. */
export interface Room {
  readonly isPaused: boolean;
  readonly weight: number;
  /** How many more may run. */
  readonly running: number;
  /** How many more may begin in this period. */
  readonly rate: number;
  /** The same for one of its keys; those without a key are not held to it. */
  readonly runningOfKey: (key: string) => number;
  readonly rateOfKey: (key: string) => number;
}

export type HoldReason = "QUEUE_PAUSED" | "QUEUE_LIMIT" | "RATE_LIMIT" | "KEY_LIMIT" | "KEY_RATE_LIMIT";

/** Which of a lane are held back by its queue, and why. */
export interface Held<H extends Head> {
  readonly lane: Lane<H>;
  readonly heads: readonly H[];
  readonly reason: HoldReason;
}

/** A turn that was given. */
export interface Turn<H extends Head> {
  readonly lane: Lane<H>;
  readonly head: H;
}

/** Where each tenant, queue and key stands beside its like. */
interface VirtualTimes {
  /** The virtual time of each node by its path. */
  readonly finish: ReadonlyMap<string, number>;
  /** Where the children of each node stand. */
  readonly now: ReadonlyMap<string, number>;
}

export const atTheBeginning: VirtualTimes = { finish: new Map(), now: new Map() };

export interface Options<H extends Head> {
  readonly lanes: readonly Lane<H>[];
  readonly roomOf: (tenant: string, queue: string) => Room;
  /** How many with this placement key may be tried. */
  readonly triesOf: (placementKey: string) => number;
  readonly limit: number;
  readonly times: VirtualTimes;
}

/** Gives up to `limit` turns, in order, and says of the rest what their queues hold back. Moves no virtual time. */
export function shareTurns<H extends Head>(
  options: Options<H>,
): {
  readonly turns: readonly Turn<H>[];
  readonly held: readonly Held<H>[];
} {
  const { lanes, triesOf, limit } = options;
  const tries = new Map(lanes.map(({ placementKey }) => [placementKey, triesOf(placementKey)]));
  const tenants = grow(options);
  const clock = { finish: new Map(options.times.finish), now: new Map(options.times.now) };
  const turns: Turn<H>[] = [];
  while (turns.length < limit) {
    const turn = next(tenants, clock, tries);
    if (turn === null) break;
    turns.push(turn);
  }
  return { turns, held: [...tenants.values()].flatMap(({ queues }) => queues.flatMap(heldBack)) };
}

interface LaneNode<H extends Head> {
  readonly lane: Lane<H>;
  /** The first that had no turn. */
  at: number;
}

interface KeyNode<H extends Head> {
  readonly path: string;
  readonly lanes: LaneNode<H>[];
  running: number;
  rate: number;
}

interface QueueNode<H extends Head> {
  readonly path: string;
  readonly room: Room;
  readonly keys: KeyNode<H>[];
  running: number;
  rate: number;
}

interface TenantNode<H extends Head> {
  readonly path: string;
  readonly queues: QueueNode<H>[];
}

function grow<H extends Head>({ lanes, roomOf }: Options<H>): Map<string, TenantNode<H>> {
  const tenants = new Map<string, TenantNode<H>>();
  const queues = new Map<string, QueueNode<H>>();
  const keys = new Map<string, KeyNode<H>>();
  for (const lane of lanes) {
    const [tenantPath, queuePath, keyPath] = pathsOf(lane);
    const tenant = there(tenants, tenantPath, () => ({ path: tenantPath, queues: [] }));
    const queue = there(queues, queuePath, () => {
      const room = roomOf(lane.tenant, lane.queue);
      const node = { path: queuePath, room, keys: [], running: room.running, rate: room.rate };
      tenant.queues.push(node);
      return node;
    });
    const key = there(keys, keyPath, () => {
      const isKey = lane.key !== "";
      const running = isKey ? queue.room.runningOfKey(lane.key) : Number.POSITIVE_INFINITY;
      const rate = isKey ? queue.room.rateOfKey(lane.key) : Number.POSITIVE_INFINITY;
      const node = { path: keyPath, lanes: [], running, rate };
      queue.keys.push(node);
      return node;
    });
    key.lanes.push({ lane, at: 0 });
  }
  return tenants;
}

function there<V>(nodes: Map<string, V>, path: string, make: () => V): V {
  const node = nodes.get(path) ?? make();
  nodes.set(path, node);
  return node;
}

/** The paths of the tenant, queue and key, each of which begins with the one above. A name has no NUL. */
function pathsOf({ tenant, queue, key }: Omit<LaneKey, "placementKey">): readonly [string, string, string] {
  return [tenant, `${tenant}\0${queue}`, `${tenant}\0${queue}\0${key}`];
}

interface Clock {
  readonly finish: Map<string, number>;
  readonly now: Map<string, number>;
}

type Tries = Map<string, number>;

function next<H extends Head>(tenants: ReadonlyMap<string, TenantNode<H>>, clock: Clock, tries: Tries): Turn<H> | null {
  const tenant = first([...tenants.values()], "", clock, ({ queues }) => queues.some((queue) => canGo(queue, tries)));
  if (tenant === null) return null;
  const queue = first(tenant.queues, tenant.path, clock, (each) => canGo(each, tries));
  if (queue === null) return null;
  const key = first(queue.keys, queue.path, clock, (each) => keyCanGo(each, tries));
  if (key === null) return null;
  const lane = key.lanes
    .filter((each) => laneCanGo(each, tries))
    .reduce((a, b) => (goesBefore(headOf(a), headOf(b)) ? a : b));
  const head = headOf(lane);
  lane.at += 1;
  queue.running -= 1;
  queue.rate -= 1;
  key.running -= 1;
  key.rate -= 1;
  const { placementKey } = lane.lane;
  tries.set(placementKey, (tries.get(placementKey) ?? 0) - 1);
  moveOn(clock, lane.lane, queue.room.weight);
  return { lane: lane.lane, head };
}

function first<N extends { readonly path: string }>(
  nodes: readonly N[],
  parent: string,
  { finish, now }: Clock,
  isAble: (node: N) => boolean,
): N | null {
  const since = now.get(parent) ?? 0;
  let best: N | null = null;
  let lowest = Number.POSITIVE_INFINITY;
  for (const node of nodes) {
    const time = Math.max(finish.get(node.path) ?? 0, since);
    if (time >= lowest && best !== null && !(time === lowest && node.path < best.path)) continue;
    if (!isAble(node)) continue;
    best = node;
    lowest = time;
  }
  return best;
}

function canGo<H extends Head>({ room, running, rate, keys }: QueueNode<H>, tries: Tries): boolean {
  return !room.isPaused && running > 0 && rate > 0 && keys.some((key) => keyCanGo(key, tries));
}

function keyCanGo<H extends Head>({ running, rate, lanes }: KeyNode<H>, tries: Tries): boolean {
  return running > 0 && rate > 0 && lanes.some((lane) => laneCanGo(lane, tries));
}

function laneCanGo<H extends Head>({ lane, at }: LaneNode<H>, tries: Tries): boolean {
  return at < lane.heads.length && (tries.get(lane.placementKey) ?? 0) > 0;
}

function headOf<H extends Head>({ lane, at }: LaneNode<H>): H {
  return lane.heads[at] as H;
}

/** Priority with ageing, then the earliest deadline, then age. */
function goesBefore(a: Head, b: Head): boolean {
  if (a.orderMs !== b.orderMs) return a.orderMs < b.orderMs;
  return a.deadlineMs === b.deadlineMs ? a.position < b.position : a.deadlineMs < b.deadlineMs;
}

function moveOn({ finish, now }: Clock, lane: Omit<LaneKey, "placementKey">, weight: number): void {
  const [tenant, queue, key] = pathsOf(lane);
  for (const [path, parent, share] of [
    [tenant, "", 1],
    [queue, tenant, weight],
    [key, queue, 1],
  ] as const) {
    const since = now.get(parent) ?? 0;
    const start = Math.max(finish.get(path) ?? 0, since);
    finish.set(path, start + 1 / share);
    now.set(parent, start);
  }
}

/** Kept at most; who is forgotten begins where the others are. */
const maxTimes = 20_000;

/** The virtual times after these were placed, in order. */
export function charge(
  times: VirtualTimes,
  placed: readonly Omit<LaneKey, "placementKey">[],
  weightOf: (tenant: string, queue: string) => number,
): VirtualTimes {
  if (placed.length === 0) return times;
  if (times.finish.size > maxTimes) return charge(atTheBeginning, placed, weightOf);
  const clock = { finish: new Map(times.finish), now: new Map(times.now) };
  for (const lane of placed) moveOn(clock, lane, weightOf(lane.tenant, lane.queue));
  return clock;
}

function heldBack<H extends Head>({ room, running, rate, keys }: QueueNode<H>): readonly Held<H>[] {
  const whole = room.isPaused ? "QUEUE_PAUSED" : running <= 0 ? "QUEUE_LIMIT" : rate <= 0 ? "RATE_LIMIT" : null;
  return keys.flatMap((key) => {
    const reason = whole ?? (key.running <= 0 ? "KEY_LIMIT" : key.rate <= 0 ? "KEY_RATE_LIMIT" : null);
    if (reason === null) return [];
    return key.lanes.flatMap(({ lane, at }) =>
      at < lane.heads.length ? [{ lane, heads: lane.heads.slice(at), reason }] : [],
    );
  });
}
