import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultSettings, orderTimeOf, type QueueSettings } from "./queue.ts";
import { atTheBeginning, charge, type Head, type Lane, type Room, shareTurns } from "./shareTurns.ts";
import { quantile, type SimulatedLoad, type SimulatedRun, simulate } from "./simulate.ts";

const unlimited: Room = {
  isPaused: false,
  weight: 1,
  running: Number.POSITIVE_INFINITY,
  rate: Number.POSITIVE_INFINITY,
  runningOfKey: () => Number.POSITIVE_INFINITY,
  rateOfKey: () => Number.POSITIVE_INFINITY,
};

function aLane(key: string, count: number, fields: Partial<Lane> = {}): Lane {
  const heads = Array.from(
    { length: count },
    (_, index): Head => ({
      id: `${fields.tenant ?? ""}${fields.queue ?? ""}${key}${index}`,
      orderMs: 0,
      deadlineMs: Number.POSITIVE_INFINITY,
      position: index,
    }),
  );
  return { tenant: "default", queue: "default", key, placementKey: "any", heads, ...fields };
}

const turnsOf = (lanes: readonly Lane[], limit: number, room: Partial<Room> = {}) =>
  shareTurns({
    ...{ lanes, limit, times: atTheBeginning, triesOf: () => Number.POSITIVE_INFINITY },
    roomOf: () => ({ ...unlimited, ...room }),
  });

const idsOf = (lanes: readonly Lane[], limit: number, room: Partial<Room> = {}) =>
  turnsOf(lanes, limit, room).turns.map(({ head }) => head.id);

describe("turns", () => {
  test("of one list go in its order", () => {
    expect(idsOf([aLane("a", 3)], 9)).toEqual(["a0", "a1", "a2"]);
  });

  test("of several keys alternate, however long their lists are", () => {
    expect(idsOf([aLane("a", 50), aLane("b", 2)], 5)).toEqual(["a0", "b0", "a1", "b1", "a2"]);
  });

  test("of queues follow their weights", () => {
    const lanes = [aLane("", 90, { queue: "heavy" }), aLane("", 90, { queue: "light" })];
    const { turns } = shareTurns({
      ...{ lanes, limit: 40, times: atTheBeginning, triesOf: () => Number.POSITIVE_INFINITY },
      roomOf: (_, queue) => ({ ...unlimited, weight: queue === "heavy" ? 3 : 1 }),
    });
    expect(turns.filter(({ lane }) => lane.queue === "heavy")).toHaveLength(30);
  });

  test("go within a key to the most urgent over all kinds of places, then to the earliest deadline, then to the oldest", () => {
    const head = (id: string, orderMs: number, deadlineMs: number, position: number) => ({
      id,
      orderMs,
      deadlineMs,
      position,
    });
    const lanes = [
      aLane("", 0, { placementKey: "x", heads: [head("early", 1, 9, 4), head("late", 2, 9, 1)] }),
      aLane("", 0, { placementKey: "y", heads: [head("urgent", 0, 9, 5), head("due", 1, 8, 6), head("old", 1, 9, 3)] }),
    ];
    expect(idsOf(lanes, 9)).toEqual(["urgent", "due", "old", "early", "late"]);
  });

  test("that came to nothing are given again", () => {
    const lanes = [aLane("a", 9), aLane("b", 9)];
    const times = charge(atTheBeginning, [lanes[0] as Lane], () => 1);
    const options = { lanes, limit: 1, triesOf: () => 9, roomOf: () => unlimited };
    expect(shareTurns({ ...options, times }).turns.map(({ head }) => head.id)).toEqual(["b0"]);
    expect(shareTurns({ ...options, times }).turns.map(({ head }) => head.id)).toEqual(["b0"]);
  });

  test("are not saved up: who comes back after a pause begins where the others are", () => {
    let times = atTheBeginning;
    for (let turn = 0; turn < 100; turn += 1) times = charge(times, [aLane("a", 0)], () => 1);
    const lanes = [aLane("a", 9), aLane("b", 9)];
    const { turns } = shareTurns({ lanes, limit: 6, times, triesOf: () => 99, roomOf: () => unlimited });
    expect(turns.filter(({ lane }) => lane.key === "b").length).toBeLessThanOrEqual(4);
  });

  test("stop at what may be tried of a kind of place", () => {
    const lanes = [aLane("a", 9, { placementKey: "full" }), aLane("b", 3)];
    const triesOf = (key: string) => (key === "full" ? 2 : Number.POSITIVE_INFINITY);
    const { turns, held } = shareTurns({ lanes, limit: 99, times: atTheBeginning, triesOf, roomOf: () => unlimited });
    expect(turns.filter(({ lane }) => lane.placementKey === "full")).toHaveLength(2);
    expect(turns).toHaveLength(5);
    expect(held).toEqual([]);
  });
});

describe("what a queue holds back", () => {
  test.each([
    [{ isPaused: true }, "QUEUE_PAUSED", 0],
    [{ running: 3 }, "QUEUE_LIMIT", 3],
    [{ rate: 2 }, "RATE_LIMIT", 2],
    [{ runningOfKey: () => 1 }, "KEY_LIMIT", 2],
    [{ rateOfKey: () => 1 }, "KEY_RATE_LIMIT", 2],
  ] as const)("by %o is told as %s", (room, reason, count) => {
    const { turns, held } = turnsOf([aLane("a", 5), aLane("b", 5)], 99, room);
    expect(turns).toHaveLength(count);
    expect(held.map((each) => each.reason)).toEqual([reason, reason]);
    expect(held.reduce((sum, { heads }) => sum + heads.length, 0)).toBe(10 - count);
  });

  test("is not told of what only had no turn", () => {
    expect(turnsOf([aLane("a", 5)], 2).held).toEqual([]);
  });

  test("without a key is held to no limit per key", () => {
    expect(turnsOf([aLane("", 5)], 99, { runningOfKey: () => 0, rateOfKey: () => 0 }).turns).toHaveLength(5);
  });
});

test("no limit is ever exceeded, whatever waits, and what could go on does", () => {
  const arbitrary = fc.record({
    lanes: fc.array(
      fc.record({
        tenant: fc.constantFrom("t", "u"),
        queue: fc.constantFrom("q", "r"),
        key: fc.constantFrom("", "a", "b"),
        placementKey: fc.constantFrom("x", "y"),
        count: fc.nat(6),
      }),
      { maxLength: 12 },
    ),
    running: fc.nat(5),
    rate: fc.nat(5),
    perKey: fc.nat(3),
    limit: fc.nat(20),
    tries: fc.nat(6),
  });
  fc.assert(
    fc.property(arbitrary, ({ lanes: some, running, rate, perKey, limit, tries }) => {
      const lanes = some.map(({ count, key, ...lane }, index) =>
        aLane(key, count, { ...lane, heads: aLane(String(index), count).heads }),
      );
      const room = { ...unlimited, running, rate, runningOfKey: () => perKey };
      const { turns } = shareTurns({ lanes, limit, times: atTheBeginning, triesOf: () => tries, roomOf: () => room });
      const count = (by: (lane: Lane) => string) =>
        [...Map.groupBy(turns, ({ lane }) => by(lane)).values()].map(({ length }) => length);
      expect(turns.length).toBeLessThanOrEqual(limit);
      expect(Math.max(0, ...count(({ tenant, queue }) => tenant + queue))).toBeLessThanOrEqual(Math.min(running, rate));
      expect(Math.max(0, ...count(({ placementKey }) => placementKey))).toBeLessThanOrEqual(tries);
      const keyed = turns.filter(({ lane }) => lane.key !== "");
      for (const { length } of Map.groupBy(keyed, ({ lane }) => `${lane.tenant}/${lane.queue}/${lane.key}`).values())
        expect(length).toBeLessThanOrEqual(perKey);
      expect(new Set(turns.map(({ head, lane }) => `${lanes.indexOf(lane)}/${head.id}`)).size).toBe(turns.length);
      const first = lanes.find(({ heads, key }) => heads.length > 0 && (key === "" || perKey > 0));
      if (first !== undefined && Math.min(limit, running, rate, tries) > 0) expect(turns.length).toBeGreaterThan(0);
    }),
  );
});

test("a point of priority is worth the ageing, and what became ready at about the same time is equal", () => {
  const at = (ms: number, priority: number) =>
    orderTimeOf(defaultSettings, new Date(1_700_000_000_000 + ms), priority).getTime();
  expect(at(0, 1)).toBeLessThan(at(0, 0));
  expect(at(76_000, 1)).toBeGreaterThan(at(0, 0));
  expect(at(100_000, 2)).toBeLessThan(at(0, 0));
  expect(at(5_000, 0)).toBe(at(0, 0));
});

describe("in the simulation", () => {
  const none = () => defaultSettings;
  const load = (key: string, readyMs: readonly number[], fields: Partial<SimulatedLoad> = {}): SimulatedLoad => ({
    ...{ tenant: "default", queue: "default", key, priority: 0, readyMs },
    ...fields,
  });
  /** Bursts of jobs, some seconds apart. */
  const bursts = (burst: number, everyMs: number, spanMs: number, offsetMs = 0) =>
    Array.from({ length: Math.floor(spanMs / everyMs) }, (_, index) =>
      Array.from({ length: burst }, () => offsetMs + index * everyMs),
    ).flat();
  const waitsOf = (runs: readonly SimulatedRun[], loads: readonly number[]) =>
    runs.filter((run) => loads.includes(run.load)).map(({ beginMs, readyMs }) => beginMs - readyMs);

  test("one key that floods 100 to 1 leaves the p99 wait of the quiet keys within twice that of their wait alone", () => {
    const quiet = Array.from({ length: 5 }, (_, index) =>
      load(`quiet-${index}`, bursts(4, 20_000, 200_000, index * 137)),
    );
    const flood = load("flood", bursts(400, 20_000, 200_000));
    const options = { slots: 4, durationMs: 1_000, settingsOf: none };
    const own = [0, 1, 2, 3, 4];
    const alone = quantile(waitsOf(simulate({ ...options, loads: quiet }), own), 0.99);
    const together = quantile(waitsOf(simulate({ ...options, loads: [...quiet, flood] }), own), 0.99);
    expect(alone).toBeGreaterThan(0);
    expect(together).toBeLessThanOrEqual(2 * alone);
  });

  test.each([
    ["keys", (index: number) => ({ key: `shard-${index}` })],
    ["queues", (index: number) => ({ queue: `shard-${index}` })],
  ])("a tenant that shards itself over many %s gains nothing", (_, shard) => {
    const readyMs = bursts(100, 100_000, 100_000);
    const modest = load("", readyMs, { tenant: "modest" });
    const sharded = Array.from({ length: 20 }, (_, index) =>
      load("", bursts(20, 100_000, 100_000), { tenant: "sharded", ...shard(index) }),
    );
    const runs = simulate({ slots: 2, durationMs: 1_000, settingsOf: none, loads: [modest, ...sharded] });
    const early = runs.filter(({ beginMs }) => beginMs < 50_000);
    expect(early).toHaveLength(100);
    expect(early.filter((run) => run.load === 0)).toHaveLength(50);
  });

  test("limits are never exceeded at any instant", () => {
    const arbitrary = fc.record({
      maxRunning: fc.integer({ min: 1, max: 4 }),
      maxRunningPerKey: fc.integer({ min: 1, max: 3 }),
      count: fc.integer({ min: 1, max: 5 }),
      loads: fc.array(
        fc.record({ key: fc.constantFrom("", "a", "b"), readyMs: fc.array(fc.nat(3_000), { maxLength: 12 }) }),
        { maxLength: 4 },
      ),
    });
    fc.assert(
      fc.property(arbitrary, ({ maxRunning, maxRunningPerKey, count, loads: some }) => {
        const settings: QueueSettings = {
          ...defaultSettings,
          maxRunning,
          maxRunningPerKey,
          rate: { count, periodMs: 1_000 },
        };
        const loads = some.map(({ key, readyMs }) =>
          load(
            key,
            readyMs.toSorted((a, b) => a - b),
          ),
        );
        const runs = simulate({ slots: 10, durationMs: 700, loads, settingsOf: () => settings });
        expect(runs).toHaveLength(loads.reduce((sum, { readyMs }) => sum + readyMs.length, 0));
        for (const { beginMs } of runs) {
          const live = runs.filter((run) => run.beginMs <= beginMs && run.endMs > beginMs);
          expect(live.length).toBeLessThanOrEqual(maxRunning);
          for (const key of ["a", "b"])
            expect(live.filter((run) => loads[run.load]?.key === key).length).toBeLessThanOrEqual(maxRunningPerKey);
          expect(
            runs.filter((run) => run.beginMs > beginMs - 1_000 && run.beginMs <= beginMs).length,
          ).toBeLessThanOrEqual(count);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("who waits long enough overtakes who is more urgent", () => {
    const patient = load("", [0], { priority: 0 });
    const urgent = load("", bursts(2, 1_000, 200_000), { priority: 1 });
    const runs = simulate({ slots: 1, durationMs: 1_000, settingsOf: none, loads: [patient, urgent] });
    const begin = runs.find((run) => run.load === 0)?.beginMs ?? 0;
    expect(begin).toBeGreaterThan(30_000);
    expect(begin).toBeLessThan(180_000);
  });
});
