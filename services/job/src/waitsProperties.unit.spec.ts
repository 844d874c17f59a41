/** Random workflows whose steps wait for all kinds of things that come in any order, paused at any moment: the end is always the same. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { isJobTerminal, isStepTerminal } from "./job.ts";
import { type StepLike, type Story, tell } from "./workflowStory.ts";

type Kind = "work" | "approval" | "signal" | "sleep" | "subJob";

interface Node {
  readonly kind: Kind;
  readonly dependsOn: readonly number[];
  readonly isGood: boolean;
}

const nodeOf = (index: number): fc.Arbitrary<Node> =>
  fc.record({
    kind: fc.constantFrom<Kind>("work", "approval", "signal", "sleep", "subJob"),
    dependsOn: index === 0 ? fc.constant([]) : fc.uniqueArray(fc.integer({ min: 0, max: index - 1 }), { maxLength: 3 }),
    isGood: fc.boolean(),
  });

const nodes = fc
  .integer({ min: 1, max: 10 })
  .chain((size) => fc.tuple(...Array.from({ length: size }, (_, at) => nodeOf(at))));
const nameOf = (index: number) => `s${index}`;

const kinds: Readonly<Record<Kind, (name: string) => Partial<StepLike>>> = {
  work: () => ({ handler: "work" }),
  approval: () => ({ approval: {} }),
  signal: (name) => ({ signal: { name } }),
  sleep: () => ({ sleep: { duration: { seconds: 60, nanos: 0 } } }),
  subJob: () => ({ subJob: { template: { name: "t" } } }),
};

function storyOf(some: readonly Node[]): Story {
  const steps = some.map(({ kind, dependsOn }, index) => ({
    name: nameOf(index),
    dependsOn: dependsOn.map(nameOf),
    ...kinds[kind](nameOf(index)),
  }));
  return tell({ steps });
}

/** Does to a step what it waits for; false if it waits for nothing now. */
function serve(story: Story, { kind, isGood }: Node, name: string): boolean {
  const { state } = story.step(name);
  if (isStepTerminal(state) || state === "BLOCKED") return false;
  switch (kind) {
    case "work":
      story.report({ step: name, outcome: isGood ? "SUCCEEDED" : "FAILED" });
      return true;
    case "approval":
      story.decide({ step: name, decision: isGood ? "APPROVE" : "REJECT" });
      return true;
    case "signal":
      story.signal(name, name);
      return true;
    case "sleep":
      story.wake(60_000);
      return isStepTerminal(story.step(name).state);
    case "subJob":
      story.endChild(name, { state: isGood ? "SUCCEEDED" : "CANCELLED" });
      return true;
  }
}

/** Serves whatever can be, in order, until nothing can. */
function finish(story: Story, some: readonly Node[]): void {
  while (some.some((node, index) => serve(story, node, nameOf(index)))) {
    if (isJobTerminal(story.job().state)) return;
  }
}

/** The states alone: a reason may hold the id of a job. */
const endsOf = (story: Story) => [story.job().state, ...story.job().steps.map(({ state }) => state)];

it("whatever comes in whatever order, early or late, and however often the job is paused, it ends in the same way", () => {
  const move = fc.tuple(fc.constantFrom("serve", "serve", "pause", "resume", "early"), fc.integer({ min: 0, max: 9 }));
  fc.assert(
    fc.property(nodes, fc.array(move, { maxLength: 40 }), (some, moves) => {
      const plain = storyOf(some);
      plain.begin();
      finish(plain, some);
      const story = storyOf(some);
      story.begin();
      const early = new Set<string>();
      for (const [what, at] of moves) {
        if (isJobTerminal(story.job().state)) break;
        const index = at % some.length;
        const [node, name] = [some[index], nameOf(index)];
        if (node === undefined) continue;
        if (what === "pause") story.pause();
        else if (what === "resume") story.resume();
        else if (what === "serve") serve(story, node, name);
        else if (node.kind === "signal" && story.step(name).state === "BLOCKED" && !early.has(name)) {
          early.add(name);
          expect(story.signal(name, name)).toBe(false);
        }
      }
      if (!isJobTerminal(story.job().state)) story.resume();
      finish(story, some);
      expect(isJobTerminal(story.job().state)).toBe(true);
      expect(story.job().pauseTime).toBeNull();
      expect(endsOf(story)).toEqual(endsOf(plain));
    }),
    { numRuns: 1_000 },
  );
});

it("nothing begins while the job is paused", () => {
  fc.assert(
    fc.property(nodes, fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 20 }), (some, order) => {
      const story = storyOf(some);
      story.begin();
      for (const at of order.slice(0, 5))
        serve(story, some[at % some.length] ?? (some[0] as Node), nameOf(at % some.length));
      if (isJobTerminal(story.job().state)) return;
      story.pause();
      const begun = story
        .job()
        .steps.filter(({ state }) => state !== "BLOCKED")
        .map(({ name }) => name);
      for (const at of order) {
        const index = at % some.length;
        const node = some[index];
        if (node !== undefined && !isJobTerminal(story.job().state)) serve(story, node, nameOf(index));
      }
      if (isJobTerminal(story.job().state)) return;
      const now = story
        .job()
        .steps.filter(({ state }) => state !== "BLOCKED")
        .map(({ name }) => name);
      expect(now).toEqual(begun);
    }),
    { numRuns: 500 },
  );
});
