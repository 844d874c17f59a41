import fc from "fast-check";
import { expect, test } from "vitest";
import { admit, retryAfterMs } from "./queueLimits.ts";

const name = (queue: string) => ({ tenant: "default", queue });

test("as many as fit are taken, in their order, and each of the others is told to come later than the one before", () => {
  const limits = [{ ...name("mail"), maxDepth: 3, drainPerSecond: 2 }];
  const outcomes = admit(["mail", "other", "mail", "mail", "mail"].map(name), limits, [{ ...name("mail"), depth: 1 }]);
  expect(outcomes.map((outcome) => outcome === null)).toEqual([true, true, true, false, false]);
  expect(outcomes[3]).toMatchObject({
    code: "RESOURCE_EXHAUSTED",
    reason: "QUEUE_FULL",
    message: "queue mail holds 3 jobs that have not begun; its limit is 3",
    metadata: { queue: "mail", depth: "3", limit: "3" },
    retryAfterMs: 500,
  });
  expect(outcomes[4]?.retryAfterMs).toBe(1_000);
});

test("the time to come again is never nothing and never more than a minute", () => {
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.double({ min: 0, max: 1e6, noNaN: true }), (before, drain) => {
      const ms = retryAfterMs(before, drain);
      expect(ms).toBeGreaterThanOrEqual(100);
      expect(ms).toBeLessThanOrEqual(60_000);
    }),
  );
});
