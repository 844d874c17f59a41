import { expect, test } from "vitest";
import { createDrainRates } from "./drainRate.ts";

test("what was placed counts for a minute", () => {
  let second = 0;
  const rates = createDrainRates(() => second);
  const lane = { tenant: "default", queue: "mail", concurrencyKey: "", placementKey: "any" };
  for (second = 1; second <= 120; second += 1) rates.note([lane, lane]);
  second = 120;
  expect(rates.perSecond("default", "mail")).toBeCloseTo(2, 1);
  second = 150;
  expect(rates.perSecond("default", "mail")).toBeCloseTo(1, 1);
  second = 500;
  expect(rates.perSecond("default", "mail")).toBe(0);
  expect(rates.perSecond("default", "other")).toBe(0);
});
