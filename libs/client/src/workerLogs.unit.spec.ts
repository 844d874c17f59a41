import { expect, test } from "vitest";
import { createLogBuffer } from "./workerLogs.ts";

const textOf = (logs: readonly { readonly data: Uint8Array }[]) =>
  logs.map(({ data }) => Buffer.from(data).toString()).join("");

test("a line ends where it ends, whether or not it says so", () => {
  const logs = createLogBuffer();
  logs.add("a", "one");
  logs.add("a", "two\n");
  expect(textOf(logs.take())).toBe("one\ntwo\n");
  expect([logs.isWaiting, logs.has("a")]).toEqual([false, false]);
});

test("a message holds 256 KiB, and what does not fit comes in the next", () => {
  const logs = createLogBuffer();
  for (const id of ["a", "b"]) logs.add(id, id.repeat(200_000));
  const [first, second] = [logs.take(), logs.take()];
  expect(first.reduce((sum, { data }) => sum + data.length, 0)).toBe(256 * 1024);
  expect(textOf([...first, ...second])).toBe(`${"a".repeat(200_000)}\n${"b".repeat(200_000)}\n`);
  expect(logs.isWaiting).toBe(false);
});

test("what is too much to wait is dropped and counted, and there is room again once it is sent or not wanted", () => {
  const logs = createLogBuffer();
  // Of memory: with its line end, and with what a buffer takes beside its bytes.
  const mebibyte = "x".repeat(1024 * 1024 - 1 - 100);
  for (let count = 0; count < 10; count += 1) logs.add("a", mebibyte);
  logs.drop("b");
  let text = "";
  while (logs.isWaiting) text += textOf(logs.take());
  expect(text.length).toBeGreaterThan(8 * mebibyte.length);
  expect(text.endsWith("(2 lines were dropped: they came faster than they could be sent)\n")).toBe(true);
  for (let count = 0; count < 8; count += 1) logs.add("a", mebibyte);
  logs.drop("a");
  logs.add("b", "after");
  expect(textOf(logs.take())).toBe("after\n");
});

test("empty lines count for the memory that they take, and give it back when they are sent", () => {
  const logs = createLogBuffer();
  for (let count = 0; count < 200_000; count += 1) logs.add("a", "");
  let text = "";
  while (logs.isWaiting) text += textOf(logs.take());
  const kept = text.indexOf("(");
  expect(kept).toBeLessThan(100_000);
  for (let count = 0; count < kept; count += 1) logs.add("a", "");
  expect(textOf(logs.take())).toBe("\n".repeat(kept));
});
