/**
 * What a load would wait for: the scheduler's own function over jobs that are made up, in a time that is made up. Pure, and used both
 * by `capstan queue simulate` and by the specs that prove what the scheduler promises.
 */
import { orderTimeOf, type QueueSettings, type RateLimit } from "./queue.ts";
import { atTheBeginning, charge, type Head, type Lane, type Room, shareTurns } from "./shareTurns.ts";

export interface SimulatedLoad {
  readonly tenant: string;
  readonly queue: string;
  readonly key: string;
  readonly priority: number;
  /** When each of its jobs becomes READY, in ms from the beginning, in order. */
  readonly readyMs: readonly number[];
}

export interface Simulation {
  readonly slots: number;
  readonly durationMs: number;
  readonly loads: readonly SimulatedLoad[];
  readonly settingsOf: (tenant: string, queue: string) => QueueSettings;
}

/** A job that ran. */
export interface SimulatedRun {
  /** Of the load. */
  readonly load: number;
  readonly readyMs: number;
  readonly beginMs: number;
  readonly endMs: number;
}

interface SimulatedHead extends Head {
  readonly load: number;
  readonly readyMs: number;
}

interface Waiting {
  readonly lane: Omit<Lane, "heads">;
  readonly heads: SimulatedHead[];
}

/** How many heads of a list are looked at; the service looks at about as many. */
const headsPerLane = 16;

/** Every job that began, in the order in which they began. Ends when nothing can begin any more. */
export function simulate({ slots, durationMs, loads, settingsOf }: Simulation): readonly SimulatedRun[] {
  const coming = comingOf(loads, settingsOf);
  const lists = new Map<string, Waiting>();
  const runs: SimulatedRun[] = [];
  const running: SimulatedRun[] = [];
  let ended = 0;
  let times = atTheBeginning;
  let arrived = 0;
  let nowMs = 0;
  for (;;) {
    while (arrived < coming.length && (coming[arrived] as SimulatedHead).readyMs <= nowMs) {
      wait(coming[arrived] as SimulatedHead);
      arrived += 1;
    }
    while (ended < running.length && (running[ended] as SimulatedRun).endMs <= nowMs) ended += 1;
    const live = running.slice(ended);
    const lanes = [...lists.values()].map(({ lane, heads }) => ({ ...lane, heads: heads.slice(0, headsPerLane) }));
    const { turns } = shareTurns({
      ...{ lanes, times, limit: slots - live.length, triesOf: () => Number.POSITIVE_INFINITY },
      roomOf: (tenant, queue) => roomIn(settingsOf(tenant, queue), { loads, live, runs, nowMs, tenant, queue }),
    });
    for (const { lane, head } of turns) {
      const run = { load: head.load, readyMs: head.readyMs, beginMs: nowMs, endMs: nowMs + durationMs };
      runs.push(run);
      running.push(run);
      leave(lane, head);
    }
    times = charge(
      times,
      turns.map(({ lane }) => lane),
      (tenant, queue) => settingsOf(tenant, queue).weight,
    );
    const next = Math.min(
      coming[arrived]?.readyMs ?? Number.POSITIVE_INFINITY,
      running[ended]?.endMs ?? Number.POSITIVE_INFINITY,
      lists.size > 0 && turns.length === 0 ? nextRateMs() : Number.POSITIVE_INFINITY,
    );
    if (turns.length === 0 && next === Number.POSITIVE_INFINITY) return runs;
    if (turns.length === 0 || slots - live.length === turns.length) nowMs = Math.max(nowMs, next);
  }

  function wait(head: SimulatedHead): void {
    const { tenant, queue, key } = loads[head.load] as SimulatedLoad;
    const path = `${tenant}\0${queue}\0${key}\0`;
    const list = lists.get(path) ?? { lane: { tenant, queue, key, placementKey: "any" }, heads: [] };
    lists.set(path, list);
    // Mostly at the end: what comes later is of a later order unless it is more urgent.
    let at = list.heads.length;
    while (at > 0 && (list.heads[at - 1] as SimulatedHead).orderMs > head.orderMs) at -= 1;
    list.heads.splice(at, 0, head);
  }

  function leave({ tenant, queue, key }: Omit<Lane, "heads">, head: Head): void {
    const path = `${tenant}\0${queue}\0${key}\0`;
    const heads = lists.get(path)?.heads ?? [];
    heads.splice(
      heads.findIndex(({ id }) => id === head.id),
      1,
    );
    if (heads.length === 0) lists.delete(path);
  }

  function nextRateMs(): number {
    const periods = loads.flatMap(({ tenant, queue }) => {
      const { rate, ratePerKey } = settingsOf(tenant, queue);
      return [rate, ratePerKey].flatMap((limit) => (limit === null ? [] : [limit.periodMs]));
    });
    const ends = periods.flatMap((periodMs) =>
      runs.map(({ beginMs }) => beginMs + periodMs).filter((end) => end > nowMs),
    );
    return ends.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  }
}

function comingOf(loads: readonly SimulatedLoad[], settingsOf: Simulation["settingsOf"]): readonly SimulatedHead[] {
  const heads = loads.flatMap(({ tenant, queue, priority, readyMs }, load) => {
    const settings = settingsOf(tenant, queue);
    return readyMs.map((ready, index) => ({
      id: `${load}/${index}`,
      orderMs: orderTimeOf(settings, new Date(ready), priority).getTime(),
      deadlineMs: Number.POSITIVE_INFINITY,
      load,
      readyMs: ready,
    }));
  });
  return heads.sort((a, b) => a.readyMs - b.readyMs).map((head, position) => ({ ...head, position }));
}

interface Sight {
  readonly loads: readonly SimulatedLoad[];
  readonly live: readonly SimulatedRun[];
  readonly runs: readonly SimulatedRun[];
  readonly nowMs: number;
  readonly tenant: string;
  readonly queue: string;
}

function roomIn(settings: QueueSettings, { loads, live, runs, nowMs, tenant, queue }: Sight): Room {
  const isOfQueue = ({ load }: SimulatedRun) => loads[load]?.tenant === tenant && loads[load]?.queue === queue;
  const countOf = (some: readonly SimulatedRun[], key: string | null) =>
    some.filter((run) => isOfQueue(run) && (key === null || loads[run.load]?.key === key)).length;
  const left = (limit: number, key: string | null) =>
    limit === 0 ? Number.POSITIVE_INFINITY : limit - countOf(live, key);
  const rateLeft = (rate: RateLimit | null, key: string | null) =>
    rate === null
      ? Number.POSITIVE_INFINITY
      : rate.count -
        countOf(
          runs.filter(({ beginMs }) => beginMs > nowMs - rate.periodMs),
          key,
        );
  return {
    isPaused: false,
    weight: settings.weight,
    running: left(settings.maxRunning, null),
    rate: rateLeft(settings.rate, null),
    runningOfKey: (key) => left(settings.maxRunningPerKey, key),
    rateOfKey: (key) => rateLeft(settings.ratePerKey, key),
  };
}

/** The wait that `share` of them did not exceed, in ms; 0 of none. */
export function quantile(waitsMs: readonly number[], share: number): number {
  const sorted = waitsMs.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
}
