import { expect, test } from "vitest";
import { formatBytes, formatCpu, formatMemory, parseCpuMillis, parseMemoryMib } from "./quantities.ts";

test.each([
  ["500m", 500],
  ["2", 2_000],
  ["0.25", 250],
  ["0", 0],
  ["0.0001", null],
  ["1.5m", null],
  ["m", null],
  ["-1", null],
  ["1 ", null],
])("CPU of %j is %s thousandths", (text, millis) => {
  expect(parseCpuMillis(text)).toBe(millis);
});

test.each([
  ["128Mi", 128],
  ["1.5Gi", 1_536],
  ["1Ti", 1_048_576],
  ["128", null],
  ["128M", null],
  ["0.3Gi", null],
  ["512Ki", null],
])("memory of %j is %s MiB", (text, mebibytes) => {
  expect(parseMemoryMib(text)).toBe(mebibytes);
});

test("amounts are shown in the unit people would write, and what is not counted as a dash", () => {
  expect([0, 250, 2_000].map(formatCpu)).toEqual(["-", "250m", "2"]);
  expect([0, 128, 2_048].map(formatMemory)).toEqual(["-", "128Mi", "2Gi"]);
  expect([0, 1_023, 1_536, 3 * 2 ** 20].map(formatBytes)).toEqual(["0 B", "1023 B", "1.5 KiB", "3.0 MiB"]);
});
