import { describe, expect, test } from "vitest";
import { createWorkerPools, type Taker, type Wanted } from "./workerPools.ts";

function worker(id: string, credit: number, more: Partial<Taker["registration"]> = {}): Taker {
  const registration = { id, tenant: "default", pool: "media", slots: 10, labels: {}, sdk: "", host: "" };
  return { registration: { ...registration, handlers: new Set(["resize"]), ...more }, credit, isOpen: true };
}

const resize: Wanted = { tenant: "default", pool: "media", name: "resize", constraints: [] };
const never = new AbortController().signal;

function poolsOf(...workers: readonly Taker[]) {
  const pools = createWorkerPools();
  for (const each of workers) pools.add(each);
  return pools;
}

describe("a worker is taken", () => {
  test("by turns, each time for one of its credits, and none is when all are spent", () => {
    const [a, b] = [worker("a", 2), worker("b", 2)];
    const pools = poolsOf(a, b);
    const taken = Array.from({ length: 5 }, () => pools.take(resize)?.registration.id ?? null);
    expect([...taken].sort()).toEqual(["a", "a", "b", "b", null]);
    expect(taken[0]).not.toBe(taken[1]);
    expect([a.credit, b.credit]).toEqual([0, 0]);
  });

  test.each([
    ["has another handler", worker("a", 1, { handlers: new Set(["other"]) })],
    ["is in another pool", worker("a", 1, { pool: "other" })],
    ["belongs to another tenant", worker("a", 1, { tenant: "other" })],
    ["is not open", { ...worker("a", 1), isOpen: false }],
  ])("but not one that %s", (_, other) => {
    expect(poolsOf(other).take(resize)).toBeNull();
  });

  test("only if its labels fit", () => {
    const constraints = [{ key: "zone", operator: "EQ", values: ["b"] }];
    const pools = poolsOf(worker("a", 1, { labels: { zone: "a" } }), worker("b", 1, { labels: { zone: "b" } }));
    expect(pools.take({ ...resize, constraints })?.registration.id).toBe("b");
    expect(pools.take({ ...resize, constraints })).toBeNull();
  });
});

describe("who waits for a worker", () => {
  test("is served in the order of asking, as far as the credit goes", async () => {
    const one = worker("a", 0);
    const pools = poolsOf(one);
    const served: number[] = [];
    for (const turn of [1, 2, 3]) void pools.wait(resize, never).then(() => served.push(turn));
    one.credit = 2;
    pools.serve(one);
    await Promise.resolve();
    expect(served).toEqual([1, 2]);
    expect(one.credit).toBe(0);
  });

  test("is not overtaken by who asks later", () => {
    const one = worker("a", 0);
    const pools = poolsOf(one);
    void pools.wait(resize, never);
    one.credit = 1;
    expect(pools.take(resize)).toBeNull();
  });

  test("does not hold up who waits for another handler", async () => {
    const one = worker("a", 0, { handlers: new Set(["crop"]) });
    const pools = poolsOf(one);
    void pools.wait(resize, never);
    const crop = pools.wait({ ...resize, name: "crop" }, never);
    one.credit = 1;
    pools.serve(one);
    expect(await crop).toBe(one);
  });

  test("gives up with its signal and leaves no trace", async () => {
    const one = worker("a", 0);
    const pools = poolsOf(one);
    const stop = new AbortController();
    const waiting = pools.wait(resize, stop.signal);
    stop.abort();
    expect(await waiting).toBeNull();
    one.credit = 1;
    expect(pools.take(resize)).toBe(one);
    expect(await pools.wait(resize, AbortSignal.abort())).toBeNull();
  });
});
