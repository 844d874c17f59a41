import fc from "fast-check";
import { expect, it } from "vitest";
import { backoffMs, isWorthRepeating, noRetry } from "./retry.ts";

const policy = { ...noRetry, maxAttempts: 5, initialBackoffMs: 100, maxBackoffMs: 1_000, multiplier: 2 };

it("each wait doubles until the longest", () => {
  expect([1, 2, 3, 4, 5, 6].map((attempt) => backoffMs(policy, attempt, 0.5))).toEqual([
    100, 200, 400, 800, 1_000, 1_000,
  ]);
});

it("jitter keeps every wait within its share of the middle", () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
      fc.integer({ min: 1, max: 50 }),
      (random, attempt) => {
        const wait = backoffMs({ ...policy, jitter: 0.2 }, attempt, random);
        const middle = backoffMs(policy, attempt, 0.5);
        expect(wait).toBeGreaterThanOrEqual(Math.floor(middle * 0.8));
        expect(wait).toBeLessThanOrEqual(Math.ceil(middle * 1.2));
      },
    ),
  );
});

it.each([
  { attempt: 4, reason: "EXIT_CODE", exitCode: 1, isWorth: true },
  { attempt: 5, reason: "EXIT_CODE", exitCode: 1, isWorth: false },
  { attempt: 1, reason: "COMMAND_NOT_FOUND", exitCode: null, isWorth: false },
  { attempt: 1, reason: "LOST", exitCode: null, isWorth: true },
  { attempt: 1, reason: "EXIT_CODE", exitCode: 9, isWorth: false },
  { attempt: 4, reason: "HANDLER_FAILED", exitCode: null, isWorth: true },
  { attempt: 5, reason: "HANDLER_FAILED", exitCode: null, isWorth: false },
  { attempt: 1, reason: "NON_RETRYABLE", exitCode: null, isWorth: false },
])("attempt $attempt that ended by $reason ($exitCode) is worth repeating: $isWorth", ({
  attempt,
  isWorth,
  ...failure
}) => {
  expect(isWorthRepeating({ ...policy, fatalExitCodes: [9] }, attempt, failure)).toBe(isWorth);
});
