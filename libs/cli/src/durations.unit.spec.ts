import { expect, test } from "vitest";
import { durationOfMs, formatAge, formatSpan, parseDurationMs } from "./durations.ts";

test.each([
  ["500ms", 500],
  ["30s", 30_000],
  ["1.5s", 1_500],
  ["5m", 300_000],
  ["1h30m", 5_400_000],
  ["2d", 172_800_000],
  ["30", null],
  ["", null],
  ["-5s", null],
  ["5 s", null],
  ["1e3s", null],
  ["s", null],
  ["99999999999999d", null],
])("the option %j is %s ms", (text, milliseconds) => {
  expect(parseDurationMs(text)).toBe(milliseconds);
});

test("milliseconds become seconds and nanoseconds", () => {
  expect(durationOfMs(1_500)).toEqual({ seconds: 1, nanos: 500_000_000 });
  expect(durationOfMs(0)).toEqual({ seconds: 0, nanos: 0 });
});

test.each([
  [-5, "0s"],
  [59_999, "59s"],
  [60_000, "1m"],
  [3_599_999, "59m"],
  [86_399_999, "23h"],
  [86_400_000 * 12, "12d"],
])("an age of %d ms is shown as %s", (milliseconds, text) => {
  expect(formatAge(milliseconds)).toBe(text);
});

test.each([
  [85.4, "85ms"],
  [999, "999ms"],
  [1_250, "1.2s"],
  [59_999, "59.9s"],
  [125_000, "2m5s"],
  [12_000_000, "3h20m"],
])("a span of %d ms is shown as %s", (milliseconds, text) => {
  expect(formatSpan(milliseconds)).toBe(text);
});
