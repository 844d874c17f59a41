import { expect, test } from "vitest";
import { createStartGate } from "./startGate.ts";

const never = new AbortController().signal;

test("lets in as many as its limit, then one for each that leaves, in order", async () => {
  const gate = createStartGate(2);
  expect([gate.tryEnter(), gate.tryEnter(), gate.tryEnter()]).toEqual([true, true, false]);
  const order: string[] = [];
  const first = gate.enter(never).then(() => order.push("first"));
  const second = gate.enter(never).then(() => order.push("second"));
  gate.leave();
  expect(gate.tryEnter()).toBe(false);
  gate.leave();
  await Promise.all([first, second]);
  expect(order).toEqual(["first", "second"]);
});

test("who gives up frees its place in the queue", async () => {
  const gate = createStartGate(1);
  gate.tryEnter();
  const giveUp = new AbortController();
  const first = gate.enter(giveUp.signal);
  const second = gate.enter(never);
  giveUp.abort();
  gate.leave();
  expect(await first).toBe(false);
  expect(await second).toBe(true);
});

test("who has given up before does not enter", async () => {
  expect(await createStartGate(1).enter(AbortSignal.abort())).toBe(false);
});

test("an endless gate lets everybody in", () => {
  const gate = createStartGate(Number.POSITIVE_INFINITY);
  expect(Array.from({ length: 1_000 }, () => gate.tryEnter()).every(Boolean)).toBe(true);
});
