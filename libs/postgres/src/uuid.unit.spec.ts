import { expect, test } from "vitest";
import { uuidv5, uuidv7 } from "./uuid.ts";

test("version 7 ids are well formed, all different, and sort in the order they were made", () => {
  const ids = Array.from({ length: 20_000 }, () => uuidv7());
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(new Set(ids).size).toBe(ids.length);
  expect([...ids].sort()).toEqual(ids);
});

test("a version 7 id begins with the time it was made", () => {
  const before = Date.now();
  const ms = Number.parseInt(uuidv7().replaceAll("-", "").slice(0, 12), 16);
  expect(ms).toBeGreaterThanOrEqual(before);
  expect(ms).toBeLessThan(before + 10_000);
});

test("version 5 ids depend on the name alone", () => {
  expect(uuidv5("start/1")).toBe(uuidv5("start/1"));
  expect(uuidv5("start/1")).not.toBe(uuidv5("start/2"));
  expect(uuidv5("start/1")).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("version 5 ids never change: commands of an older release must keep their ids", () => {
  expect(uuidv5("start/1")).toBe("18ef2c59-3215-5217-acf4-7382f1aae52b");
});
