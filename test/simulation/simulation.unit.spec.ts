/**
 * Some of the platforms of `npm run test:simulation`, each time; and that it finds what is wrong: with an error put in, the same seed fails
 * that is well without it.
 */
import { expect, test } from "vitest";
import { describeFailure } from "./describeFailure.ts";
import { type Defect, defects, simulate } from "./simulate.ts";

const budgetMs = 8_000;

test("whatever is killed, lost, repeated, shuffled and forgotten, every job ends once and nothing is left behind", async () => {
  const giveUpMs = performance.now() + budgetMs;
  let faults = 0;
  let seeds = 0;
  for (let seed = 1; seed <= 300 && performance.now() < giveUpMs; seed += 1) {
    const outcome = await simulate({ seed });
    if (outcome.violations.length > 0) throw new Error(describeFailure({ seed }, outcome));
    faults += outcome.faults;
    seeds += 1;
  }
  // A run in which nothing was broken shows nothing.
  expect(seeds).toBeGreaterThan(5);
  expect(faults).toBeGreaterThan(10 * seeds);
}, 120_000);

/** Seeds that meet each error soon. */
const telling: Readonly<Record<Defect, number>> = {
  "relay marks before it publishes": 2,
  "wiped stream stays empty": 1,
  "tail is not published again": 3,
  "keys are not remembered": 2,
  "given back is not counted": 1,
  "stops of unknown executions are forgotten": 2,
  "nobody is woken": 1,
  "runs are saved before their schedule": 3,
};

test.each(defects)("it finds the error that %s", async (defect) => {
  expect((await simulate({ seed: telling[defect], defect })).violations).not.toEqual([]);
  expect((await simulate({ seed: telling[defect] })).violations).toEqual([]);
}, 120_000);

test("the same seed tells the same story, and one that fails is told as a test", async () => {
  const options = { seed: 1, defect: "given back is not counted" } as const;
  const [outcome, again] = [await simulate(options), await simulate(options)];
  expect(again).toEqual(outcome);
  expect(describeFailure(options, outcome)).toContain('simulate({ seed: 1, defect: "given back is not counted" })');
});
