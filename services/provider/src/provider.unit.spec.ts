import { describe, expect, test } from "vitest";
import { aProvider } from "./aProvider.ts";
import {
  activate,
  allowedFrom,
  apply as applyAt,
  cordon,
  deactivate,
  drain,
  etagOf,
  forget,
  giveBack,
  isSame,
  observe,
  type Provider,
  type ProviderEvent,
  type ProviderState,
  providerStates,
  type Reservation,
  regroup,
  uncordon,
  update,
} from "./provider.ts";

const now = new Date(1_000);
const apply = (provider: Provider, event: ProviderEvent) => applyAt(provider, event, now);

function reservations(count: number, amount = { slots: 1, cpuMillis: 500, memoryMib: 64 }): Reservation[] {
  return Array.from({ length: count }, (_, index) => ({ id: `reservation-${index}`, jobId: "job", amount }));
}

const events: readonly ProviderEvent[] = [
  { type: "registered" },
  { type: "activated" },
  { type: "cordoned" },
  { type: "draining" },
  { type: "drained" },
  { type: "deactivated" },
  { type: "deleted" },
  { type: "updated", change: { endpoint: "" } },
  { type: "regrouped", groups: [], time: now },
  { type: "health_changed", health: "HEALTHY", message: "", failures: 0 },
  { type: "probed", message: "", failures: 0 },
  { type: "held", reservations: [], lastChosen: 1 },
  { type: "released", reservations: [] },
  { type: "expired", reservations: [] },
];

const stateAfter: Partial<Record<ProviderEvent["type"], ProviderState>> = {
  activated: "ACTIVE",
  cordoned: "CORDONED",
  draining: "DRAINING",
  drained: "DISABLED",
  deactivated: "DISABLED",
};

describe("the table of moves", () => {
  test("is tried with every event there is", () => {
    expect(events.map(({ type }) => type).sort()).toEqual(Object.keys(allowedFrom).sort());
  });

  for (const event of events) {
    for (const state of providerStates) {
      const isAllowed = (allowedFrom[event.type] as readonly ProviderState[]).includes(state);
      const outcome = isAllowed ? `leads to ${stateAfter[event.type] ?? state}` : "is refused";

      test(`${event.type} in ${state} ${outcome}`, () => {
        const provider = aProvider({ state });
        if (isAllowed) expect(apply(provider, event).state).toBe(stateAfter[event.type] ?? state);
        else expect(() => apply(provider, event)).toThrow(`provider local is ${state}; it cannot be ${event.type}`);
      });
    }
  }
});

test("every fact has the next number, and a probe that changes no health is none", () => {
  for (const event of events.filter(({ type }) => type !== "registered")) {
    const [state] = allowedFrom[event.type] as readonly ProviderState[];
    const { sequence } = apply(aProvider({ state: state ?? "ACTIVE" }), event);
    expect(sequence, event.type).toBe(event.type === "probed" ? 1 : 2);
  }
});

test("the etag and the time of update change with operators only", () => {
  const changed = events.filter((event) => {
    const [state] = allowedFrom[event.type] as readonly ProviderState[];
    return state !== undefined && etagOf(apply(aProvider({ state }), event)) !== etagOf(aProvider());
  });
  expect(changed.map(({ type }) => type)).toEqual(["activated", "cordoned", "draining", "deactivated", "updated"]);
  expect(apply(aProvider(), { type: "cordoned" }).updateTime).toBe(now);
  expect(apply(aProvider(), { type: "held", reservations: [], lastChosen: 1 }).updateTime).toEqual(new Date(0));
});

describe("a report of a pool's workers", () => {
  const groups = [{ handlers: ["resize"], labels: { zone: "a", gpu: "no" }, workers: 3, slots: 150 }];
  const pool = aProvider({
    kind: "WORKER",
    poolTime: now,
    workerGroups: groups,
    healthMessage: "3 workers, 150 slots",
  });
  const later = new Date(2_000);

  test("makes the pool's capacity and its health, and takes away slots that are in use", () => {
    const inUse = { ...pool, live: 60, reserved: { slots: 60, cpuMillis: 0, memoryMib: 0 } };
    const fewer = [{ handlers: ["resize"], labels: {}, workers: 1, slots: 50 }];
    const moved = regroup(inUse, fewer, later).reduce(apply, inUse);
    expect(moved).toMatchObject({
      capacity: { slots: 50 },
      reserved: { slots: 60 },
      workerGroups: fewer,
      poolTime: later,
    });
    expect(moved).toMatchObject({ health: "HEALTHY", healthMessage: "1 worker, 50 slots", state: "ACTIVE" });
  });

  test("changes its health with the last worker and the first one only", () => {
    const empty = regroup(pool, [], later).reduce(apply, pool);
    expect(empty).toMatchObject({ health: "UNHEALTHY", healthMessage: "no worker is connected", healthTime: now });
    expect(empty.capacity.slots).toBe(0);
    const back = regroup(empty, groups, new Date(3_000));
    expect(back.map(({ type }) => type)).toEqual(["regrouped", "health_changed"]);
    expect(back.reduce(apply, empty)).toMatchObject({ health: "HEALTHY", healthMessage: "3 workers, 150 slots" });
  });

  test("is passed over when it is older, or tells the same in whatever order; one of the same time counts", () => {
    expect(regroup(pool, [], now)).toHaveLength(2);
    expect(regroup(pool, [], new Date(999))).toEqual([]);
    const same = [{ handlers: ["resize"], labels: { gpu: "no", zone: "a" }, workers: 3, slots: 150 }];
    expect(regroup(pool, same, later)).toEqual([]);
  });

  test("is all that speaks of its health: probes do not count", () => {
    expect(observe(pool, { isGood: false, message: "no" }, 1)).toEqual([]);
  });
});

describe("what operators ask for", () => {
  const types = (decided: readonly ProviderEvent[]) => decided.map(({ type }) => type);
  const inUse = { live: 2, reserved: { slots: 2, cpuMillis: 0, memoryMib: 0 } };

  test("is safe to repeat", () => {
    expect(activate(aProvider({ state: "ACTIVE" }))).toEqual([]);
    expect(uncordon(aProvider({ state: "ACTIVE" }))).toEqual([]);
    expect(cordon(aProvider({ state: "CORDONED" }))).toEqual([]);
    expect(drain(aProvider({ state: "DRAINING", ...inUse }))).toEqual([]);
    expect(drain(aProvider({ state: "DISABLED" }))).toEqual([]);
    expect(deactivate(aProvider({ state: "DISABLED" }))).toEqual([]);
  });

  test("an uncordon takes back nothing but a cordon", () => {
    expect(types(uncordon(aProvider({ state: "CORDONED" })))).toEqual(["activated"]);
    expect(() => uncordon(aProvider({ state: "DRAINING" }))).toThrow("it cannot be uncordoned");
    expect(() => uncordon(aProvider({ state: "DISABLED" }))).toThrow("it cannot be uncordoned");
  });

  test("an empty provider is drained at once, one in use when its last reservation ends", () => {
    expect(types(drain(aProvider()))).toEqual(["draining", "drained"]);
    const draining = drain(aProvider(inUse)).reduce(apply, aProvider(inUse));
    expect(draining.state).toBe("DRAINING");
    expect(types(giveBack(draining, "released", reservations(1)))).toEqual(["released"]);
    expect(types(giveBack(draining, "expired", reservations(2)))).toEqual(["expired", "drained"]);
    expect(types(giveBack(aProvider(inUse), "released", reservations(2)))).toEqual(["released"]);
  });

  test("a provider in use is neither deactivated nor deleted, and says how much is on it", () => {
    const refusal = {
      code: "FAILED_PRECONDITION",
      reason: "PROVIDER_IN_USE",
      metadata: { provider: "local", liveReservations: "2" },
    };
    expect(() => deactivate(aProvider(inUse))).toThrow(expect.objectContaining(refusal));
    expect(() => forget(aProvider(inUse))).toThrow(expect.objectContaining(refusal));
    expect(types(forget(aProvider({ state: "DISABLED" })))).toEqual(["deleted"]);
  });

  test("an update needs the etag that is current, or none", () => {
    const provider = aProvider({ version: 7 });
    expect(() => update(provider, { endpoint: "x" }, "6")).toThrow(expect.objectContaining({ code: "ABORTED" }));
    expect(types(update(provider, { endpoint: "x" }, "7"))).toEqual(["updated"]);
    expect(types(update(provider, { endpoint: "x" }, ""))).toEqual(["updated"]);
    expect(update(provider, { endpoint: provider.endpoint }, "")).toEqual([]);
  });

  test("capacity cannot fall under what is reserved, but may stop being counted", () => {
    const provider = aProvider({ reserved: { slots: 3, cpuMillis: 1_500, memoryMib: 0 } });
    const shrunk = { slots: 2, cpuMillis: 1_000, memoryMib: 0 };
    expect(() => update(provider, { capacity: shrunk }, "")).toThrow("3 slots, 1500 thousandths of a CPU reserved");
    expect(types(update(provider, { capacity: { slots: 3, cpuMillis: 0, memoryMib: 0 } }, ""))).toEqual(["updated"]);
  });
});

test("a registration is the same again only if everything is the same", () => {
  const provider = aProvider({ labels: { zone: "a", constructor: "b" } });
  expect(isSame(provider, { ...provider })).toBe(true);
  expect(isSame(provider, { ...provider, labels: { zone: "a" } })).toBe(false);
  expect(isSame(provider, { ...provider, labels: { zone: "a", toString: "b" } })).toBe(false);
  expect(isSame(provider, { ...provider, kind: "DOCKER" })).toBe(false);
  expect(isSame(provider, { ...provider, capacity: { ...provider.capacity, memoryMib: 1 } })).toBe(false);
  expect(isSame(provider, { ...provider, endpoint: "unix:///x" })).toBe(false);
});

test("reservations are counted when they are held and when they end", () => {
  const held = apply(aProvider(), { type: "held", reservations: reservations(3), lastChosen: 9 });
  expect(held).toMatchObject({ live: 3, made: 3, expired: 0, lastChosen: 9 });
  expect(held.reserved).toEqual({ slots: 3, cpuMillis: 1_500, memoryMib: 192 });
  const released = apply(held, { type: "released", reservations: reservations(1) });
  const expired = apply(released, { type: "expired", reservations: reservations(2) });
  expect(expired).toMatchObject({ live: 0, made: 3, expired: 2 });
  expect(expired.reserved).toEqual({ slots: 0, cpuMillis: 0, memoryMib: 0 });
});

describe("health", () => {
  const good = { isGood: true, message: "27.1" };
  const bad = { isGood: false, message: "connection refused" };
  const probe = (provider: Provider, ...probes: (typeof good)[]) =>
    probes.reduce((before, seen) => observe(before, seen, 3).reduce(apply, before), provider);

  test("is UNHEALTHY after three failures in a row and HEALTHY after one good probe", () => {
    let provider = aProvider();
    const seen = [bad, bad, good, bad, bad, bad, bad, good].map((next) => {
      provider = probe(provider, next);
      return provider.health;
    });
    const path = ["DEGRADED", "DEGRADED", "HEALTHY", "DEGRADED", "DEGRADED", "UNHEALTHY", "UNHEALTHY", "HEALTHY"];
    expect(seen).toEqual(path);
  });

  test("of a provider never seen good is UNKNOWN until the threshold", () => {
    const fresh = aProvider({ health: "UNKNOWN" });
    expect(probe(fresh, bad, bad)).toMatchObject({ health: "UNKNOWN", healthFailures: 2 });
    expect(probe(fresh, bad, bad, bad)).toMatchObject({ health: "UNHEALTHY", healthMessage: "connection refused" });
    expect(probe(fresh, bad, good)).toMatchObject({ health: "HEALTHY", healthFailures: 0, healthMessage: "27.1" });
    expect(probe(fresh, bad).healthTime).toBeNull();
    expect(probe(fresh, good).healthTime).toBe(now);
  });

  test("that stays as it is changes nothing, so that an idle platform writes nothing", () => {
    expect(observe(probe(aProvider(), good), good, 3)).toEqual([]);
    expect(observe(probe(aProvider(), bad, bad, bad), bad, 3)).toEqual([]);
  });

  test("is a fact only when it changes", () => {
    expect(observe(aProvider(), good, 3)).toMatchObject([{ type: "probed", message: "27.1" }]);
    expect(observe(probe(aProvider(), bad), bad, 3)).toMatchObject([{ type: "probed", failures: 2 }]);
    expect(observe(probe(aProvider(), bad, bad), bad, 3)).toMatchObject([
      { type: "health_changed", health: "UNHEALTHY" },
    ]);
  });
});
