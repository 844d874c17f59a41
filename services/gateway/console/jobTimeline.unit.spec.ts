import { expect, test } from "vitest";
import { extentOf, timelineOf } from "./jobTimeline.ts";
import type { Fact } from "./json.ts";

const second = (at: number) => new Date(Date.UTC(2026, 10, 21, 10, 0, at)).toISOString();
const fact = (at: number, ...steps: object[]): Fact => ({ time: second(at), data: { steps } as never });
const step = (name: string, state: string, attempt = 1) => ({ name, state: `STEP_STATE_${state}`, attempt });

test("a step's bar is told in stretches: it waits, runs, backs off, and runs again to its end", () => {
  const rows = timelineOf([
    fact(0, step("one", "READY")),
    fact(1, step("one", "RUNNING")),
    fact(3, step("one", "BACKOFF", 2)),
    fact(5, step("one", "READY", 2)),
    fact(6, step("one", "RUNNING", 2)),
    fact(9, step("one", "SUCCEEDED", 2)),
  ]);
  expect(rows).toHaveLength(1);
  expect(rows[0]?.outcome).toBe("SUCCEEDED");
  const stretches = rows[0]?.segments.map(({ state, attempt, begin, end }) => [
    state,
    attempt,
    ((end ?? 0) - begin) / 1_000,
  ]);
  expect(stretches).toEqual([
    ["READY", 1, 1],
    ["RUNNING", 1, 2],
    ["BACKOFF", 2, 2],
    ["READY", 2, 1],
    ["RUNNING", 2, 3],
  ]);
});

test("what waits for a place is told in stretches of one reason each, as its attempts tell them", () => {
  const wait = (at: number, reason: string, attempt = 1) => ({
    type: "capstan.orchestrator.v1.saga.waiting",
    time: second(at),
    data: { saga: { step: "one", attempt, reason: `REASON_${reason}` as never, message: "why" } },
  });
  const facts = [fact(0, step("one", "READY")), fact(9, step("one", "RUNNING")), fact(12, step("one", "READY", 2))];
  const waits = [wait(2, "QUEUE_LIMIT"), wait(5, "NO_CAPACITY"), wait(8, "NO_CAPACITY", 7), wait(13, "NO_CAPACITY", 2)];
  const [row] = timelineOf(facts, waits);
  const stretches = row?.segments.map(({ state, reason, begin }) => [
    state,
    reason,
    (begin - Date.parse(second(0))) / 1e3,
  ]);
  expect(stretches).toEqual([
    ["READY", "", 0],
    ["READY", "QUEUE_LIMIT", 2],
    ["READY", "NO_CAPACITY", 5],
    ["RUNNING", "", 9],
    ["READY", "", 12],
    ["READY", "NO_CAPACITY", 13],
  ]);
});

test("the last stretch of what has not ended is open, and being told the same again does not begin another", () => {
  const [row] = timelineOf([
    fact(0, step("one", "READY")),
    fact(2, step("one", "READY")),
    fact(3, step("one", "RUNNING")),
  ]);
  expect(row?.segments).toHaveLength(2);
  expect(row?.segments[1]?.end).toBeNull();
  expect(row?.outcome).toBe("");
});

test("steps come in the order in which they first moved", () => {
  const rows = timelineOf([fact(0, step("b", "READY")), fact(1, step("a", "READY"), step("b", "RUNNING"))]);
  expect(rows.map((row) => row.step)).toEqual(["b", "a"]);
});

test("the extent of a job goes to its last fact, or to now while it lives", () => {
  const facts = [fact(0), fact(7)];
  const begin = Date.parse(second(0));
  expect(extentOf(facts, true, begin + 99_000)).toEqual([begin, begin + 7_000]);
  expect(extentOf(facts, false, begin + 99_000)).toEqual([begin, begin + 99_000]);
  expect(extentOf([], false, 5)).toEqual([5, 6]);
});
