import { DomainError, invalid } from "@capstan/errors";
import { expect, test } from "vitest";
import { cureOf, type Held, handleBatch, pauseMs } from "./handleBatch.ts";

/** Runs the policy over facts that are numbers, with pauses that take no time. */
async function run(facts: readonly (number | Error)[], handle: (facts: readonly number[]) => void) {
  const acked: number[] = [];
  const setAside: unknown[] = [];
  const pauses: number[] = [];
  const troubles: unknown[] = [];
  const batch = facts.map(
    (fact): Held<number> => ({
      fact,
      ack: () => acked.push(fact as number),
      setAside: async () => void setAside.push(fact),
    }),
  );
  await handleBatch(batch, {
    handle: async (some) => handle(some),
    pause: async (ms) => void pauses.push(ms),
    onTrouble: (error) => void troubles.push(error),
  });
  return { acked, setAside, pauses, troubles };
}

const outage = () => new DomainError({ code: "UNAVAILABLE", reason: "DOWN", message: "down" });

test("a batch that is handled is acked, in one call", async () => {
  const calls: (readonly number[])[] = [];
  expect(await run([1, 2, 3], (facts) => calls.push(facts))).toMatchObject({
    acked: [1, 2, 3],
    setAside: [],
    pauses: [],
  });
  expect(calls).toEqual([[1, 2, 3]]);
});

test("the one fact that is refused is set aside at once, and the others are handled in their order", async () => {
  const handled: number[] = [];
  const result = await run([1, 2, 3], (facts) => {
    if (facts.includes(2)) throw invalid([{ field: "x", description: "is bad" }]);
    handled.push(...facts);
  });
  expect(result).toMatchObject({ acked: [1, 3], setAside: [2], pauses: [] });
  expect(handled).toEqual([1, 3]);
});

test("an outage is waited for with all facts in their order, however long it lasts", async () => {
  let calls = 0;
  const result = await run([1, 2], (facts) => {
    expect(facts).toEqual([1, 2]);
    if (++calls <= 50) throw outage();
  });
  expect(result).toMatchObject({ acked: [1, 2], setAside: [] });
  expect(result.pauses.slice(0, 6)).toEqual([100, 200, 400, 800, 1600, 2000]);
  expect(result.pauses).toHaveLength(50);
});

test("a defect gets ten tries alone, then its fact is set aside and the others go on", async () => {
  let callsAlone = 0;
  const result = await run([1, 2, 3], (facts) => {
    if (!facts.includes(2)) return;
    if (facts.length === 1) callsAlone += 1;
    throw new TypeError("x is undefined");
  });
  expect(result).toMatchObject({ acked: [1, 3], setAside: [2] });
  expect(callsAlone).toBe(10);
});

test("what is no fact is set aside without being handled", async () => {
  const result = await run([new Error("not json"), 2], (facts) => expect(facts).toEqual([2]));
  expect(result.acked).toEqual([2]);
  expect(result.setAside).toHaveLength(1);
});

test("a batch of nothing but dead letters calls nobody", async () => {
  await run([new Error("not json")], () => expect.unreachable());
});

test("trouble is reported while it lasts and withdrawn when it ends", async () => {
  let calls = 0;
  const { troubles } = await run([1], () => {
    if (++calls === 1) throw outage();
  });
  expect(troubles).toEqual([expect.any(DomainError), null]);
});

test.each([
  [invalid([]), "none"],
  [new DomainError({ code: "NOT_FOUND", reason: "X", message: "" }), "none"],
  [new DomainError({ code: "ABORTED", reason: "X", message: "" }), "time"],
  [new TypeError(), "unlikely"],
  [Object.assign(new Error(), { code: "23505" }), "unlikely"],
  [Object.assign(new Error(), { code: "57P01" }), "time"],
  [Object.assign(new Error(), { code: "ECONNREFUSED" }), "time"],
  [null, "time"],
])("the cure of %o is %s", (error, cure) => {
  expect(cureOf(error)).toBe(cure);
});

test("pauses grow to two seconds and no further", () => {
  expect([1, 2, 5, 6, 100].map(pauseMs)).toEqual([100, 200, 1600, 2000, 2000]);
});
