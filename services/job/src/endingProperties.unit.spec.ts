/** Random workflows with items, compensations, hooks and a cancel at any time: what must hold of all of them, whatever happens. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { isJobTerminal, isStepTerminal } from "./job.ts";
import { type SpecLike, type Story, tell } from "./workflowStory.ts";

interface Node {
  readonly dependsOn: readonly number[];
  readonly isUndone: boolean;
  /** Null without `for_each`. */
  readonly items: number | null;
  readonly maxParallel: number;
  readonly attempts: number;
}

const nodeOf = (index: number): fc.Arbitrary<Node> =>
  fc.record({
    dependsOn: index === 0 ? fc.constant([]) : fc.uniqueArray(fc.integer({ min: 0, max: index - 1 }), { maxLength: 2 }),
    isUndone: fc.boolean(),
    items: fc.option(fc.integer({ min: 0, max: 5 }), { freq: 2 }),
    maxParallel: fc.integer({ min: 0, max: 3 }),
    attempts: fc.integer({ min: 1, max: 2 }),
  });

const nodes = fc
  .integer({ min: 1, max: 6 })
  .chain((size) => fc.tuple(...Array.from({ length: size }, (_, at) => nodeOf(at))));
const hooks = { onSuccess: ["won"], onFailure: ["lost", "lost-too"], onCancel: ["stopped"] };
const hookNames = Object.values(hooks).flat();

function specOf(some: readonly Node[]): SpecLike {
  const retryOf = (attempts: number) => ({ maxAttempts: attempts, multiplier: 1 });
  const main = some.map(({ dependsOn, isUndone, items, maxParallel, attempts }, index) => ({
    name: `s${index}`,
    dependsOn: dependsOn.map((at) => `s${at}`),
    compensate: isUndone ? `undo-s${index}` : "",
    retry: retryOf(attempts),
    ...(items === null
      ? {}
      : { forEach: { items: Array.from({ length: items }, (_, at) => at), maxParallel }, input: "${{ item }}" }),
  }));
  const late = [...main.flatMap(({ compensate }) => (compensate === "" ? [] : [compensate])), ...hookNames];
  return { ...hooks, steps: [...main, ...late.map((name) => ({ name, retry: retryOf(2) }))] };
}

interface Played {
  readonly story: Story;
  /** Names of steps in the order in which they ended. */
  readonly ended: readonly string[];
  readonly wasCancelled: boolean;
}

/** Does something at random until the job has ended: reports, clock, and once perhaps a cancel. */
function play(spec: SpecLike, pick: (below: number) => number, check: (story: Story) => void): Played {
  const story = tell(spec);
  const ended: string[] = [];
  let wasCancelled = false;
  const note = () => {
    for (const { name, state } of story.job().steps) {
      if (state === "SUCCEEDED" && !ended.includes(name)) ended.push(name);
    }
    check(story);
  };
  story.begin();
  note();
  for (let turn = 0; !isJobTerminal(story.job().state); turn += 1) {
    if (turn > 500) throw new Error(`nothing ends it: ${JSON.stringify(story.states())}`);
    const open = story
      .job()
      .steps.filter(({ name, state }) => isOpen(spec, name) && (state === "READY" || state === "RUNNING"));
    const step = open[pick(Math.max(1, open.length))];
    const { state } = story.job();
    if (pick(25) === 0 && (state === "PENDING" || state === "RUNNING")) {
      wasCancelled ||= story.job().ending === null;
      story.cancel(pick(2) === 0 ? "CANCELLED_BY_USER" : "JOB_TIMEOUT");
    } else if (step === undefined) story.wake(3_600_000);
    else {
      const outcome =
        (["STARTED", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "FAILED", "CANCELLED"] as const)[pick(6)] ?? "STARTED";
      story.report({ step: step.name, attempt: step.attempt, outcome, executionId: "e", result: turn });
    }
    note();
  }
  return { story, ended, wasCancelled };
}

/** A step with items is not executed itself. */
function isOpen(spec: SpecLike, name: string): boolean {
  return spec.steps.find((step) => step.name === name)?.forEach === undefined;
}

it("any workflow ends in order: one at a time is undone, in reverse, then its hooks run, and nothing else ever does", () => {
  fc.assert(
    fc.property(nodes, fc.infiniteStream(fc.nat()), (some, picks) => {
      const spec = specOf(some);
      const isLate = (name: string) => name.startsWith("undo-") || hookNames.includes(name);
      const { story, ended, wasCancelled } = play(
        spec,
        (below) => (picks.next().value as number) % below,
        ({ job, states }) => {
          const { steps, ending } = job();
          const live = steps
            .filter(({ state }) => state !== "BLOCKED" && !isStepTerminal(state))
            .map(({ name }) => name);
          const undoing = live.filter((name) => name.startsWith("undo-"));
          // One at a time, and never together with a hook or with what it might undo.
          if (undoing.length > 0) expect(live).toHaveLength(1);
          if (live.some((name) => isLate(name))) expect(live.every((name) => isLate(name))).toBe(true);
          if (live.some((name) => isLate(name))) expect(ending).not.toBeNull();
          for (const [index, { maxParallel }] of some.entries()) {
            const items = live.filter((name) => name.startsWith(`s${index}.`));
            if (maxParallel > 0) expect(items.length, JSON.stringify(states())).toBeLessThanOrEqual(maxParallel);
          }
        },
      );
      const { state, steps } = story.job();
      expect(steps.filter((step) => !isStepTerminal(step.state))).toEqual([]);
      if (wasCancelled) expect(["CANCELLED", "TIMED_OUT"]).toContain(state);
      const began = story.ready.filter((name, at) => story.ready.indexOf(name) === at);
      const done = ended.filter((name) => !isLate(name) && !name.includes("."));
      const undone = began.filter((name) => name.startsWith("undo-")).map((name) => name.slice("undo-".length));
      const isUndone = (name: string) => some[Number(name.slice(1))]?.isUndone === true;
      const outcome = story.job().ending?.outcome;
      expect(undone).toEqual(outcome === "SUCCEEDED" ? [] : reversed(story, done.filter(isUndone)));
      const expected = {
        SUCCEEDED: ["won"],
        FAILED: ["lost", "lost-too"],
        TIMED_OUT: ["lost", "lost-too"],
        CANCELLED: ["stopped"],
      };
      expect(began.filter((name) => hookNames.includes(name))).toEqual(outcome === undefined ? [] : expected[outcome]);
      expect([outcome, "FAILED"]).toContain(state);
    }),
    { numRuns: 500 },
  );
}, 30_000);

/** By the time at which they ended; what ended at the same time depends on each other, or its order does not matter. */
function reversed({ step, plan }: Story, names: readonly string[]): readonly string[] {
  const timeOf = (name: string) => step(name).endTime?.getTime() ?? 0;
  const rankOf = (name: string) => plan.steps.get(name)?.rank ?? 0;
  return names.toSorted((a, b) => timeOf(b) - timeOf(a) || rankOf(b) - rankOf(a));
}
