/** Random workflows with random ends of their steps, told in any order, against a model that computes the end from scratch. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { isJobTerminal } from "./job.ts";
import { type Said, type SpecLike, type Story, tell } from "./workflowStory.ts";

type End = "SUCCEEDED" | "FAILED" | "TIMED_OUT" | "CANCELLED" | "SKIPPED";
const ends = ["SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "FAILED", "TIMED_OUT", "CANCELLED", "SKIPPED"] as const;

interface Node {
  readonly dependsOn: readonly number[];
  readonly continueOnFailure: boolean;
  readonly when: "" | "true" | "false" | "result" | "broken";
  readonly end: End;
  readonly attempts: number;
}

const nodeOf = (index: number) =>
  fc.record({
    dependsOn:
      index === 0
        ? fc.constant([])
        : fc.uniqueArray(fc.integer({ min: 0, max: index - 1 }), { maxLength: Math.min(index, 4) }),
    continueOnFailure: fc.boolean(),
    when: fc.constantFrom("", "", "", "", "true", "false", "result", "broken"),
    end: fc.constantFrom<End>(...ends),
    attempts: fc.integer({ min: 1, max: 3 }),
  }) as fc.Arbitrary<Node>;

const dag = fc
  .integer({ min: 1, max: 12 })
  .chain((size) => fc.tuple(...Array.from({ length: size }, (_, at) => nodeOf(at))));
const nameOf = (index: number) => `s${index}`;

function whenOf({ when, dependsOn }: Node): string {
  const [first] = dependsOn;
  if (when === "broken") return "1 + 'a' == 2";
  if (when !== "result") return when;
  // What it is decided by has to be read: the result of a step it waits for, which is its index if there is one.
  return first === undefined ? "true" : `steps['${nameOf(first)}'].result == ${first}`;
}

function specOf(nodes: readonly Node[]): SpecLike {
  return {
    steps: nodes.map((node, index) => ({
      name: nameOf(index),
      dependsOn: node.dependsOn.map(nameOf),
      continueOnFailure: node.continueOnFailure,
      when: whenOf(node),
      retry: { maxAttempts: node.attempts, multiplier: 1 },
    })),
  };
}

/** Where each step ends, and why, straight from the rules: dependencies have lower numbers. */
function modelOf(nodes: readonly Node[]): readonly string[] {
  const found: string[] = [];
  for (const node of nodes) found.push(endOf(node, nodes, found));
  return found;
}

function endOf(node: Node, nodes: readonly Node[], found: readonly string[]): string {
  const before = node.dependsOn.map((at) => ({ end: found[at] ?? "", goesOn: nodes[at]?.continueOnFailure === true }));
  const isGood = (end: string) =>
    end === "SUCCEEDED" || (end.startsWith("SKIPPED") && end !== "SKIPPED DEPENDENCY_FAILED");
  if (!before.every(({ end, goesOn }) => isGood(end) || (goesOn && !end.startsWith("SKIPPED")))) {
    return "SKIPPED DEPENDENCY_FAILED";
  }
  if (before.length > 0 && before.every(({ end }) => end.startsWith("SKIPPED"))) return "SKIPPED DEPENDENCIES_SKIPPED";
  if (node.when === "broken") return "FAILED EXPRESSION_FAILED";
  if (node.when === "false") return "SKIPPED CONDITION_FALSE";
  const [first] = node.dependsOn;
  if (node.when === "result" && first !== undefined && found[first] !== "SUCCEEDED") return "SKIPPED CONDITION_FALSE";
  return node.end === "SUCCEEDED" ? node.end : `${node.end} OPERATOR_SAID`;
}

function jobEndOf(nodes: readonly Node[], found: readonly string[]): string {
  const bad = found.filter((_, at) => nodes[at]?.continueOnFailure === false);
  for (const state of ["FAILED", "TIMED_OUT", "CANCELLED"]) if (bad.some((end) => end.startsWith(state))) return state;
  return "SUCCEEDED";
}

/** Reports whatever is READY or RUNNING in an order that `pick` says, some of it together, some of it twice. */
function play(story: Story, nodes: readonly Node[], pick: () => number): void {
  story.begin();
  const old: Said[] = [];
  for (let turn = 0; !isJobTerminal(story.job().state); turn += 1) {
    if (turn > 1_000) throw new Error(`nothing ends it: ${JSON.stringify(story.states())}`);
    const open = story.job().steps.filter(({ state }) => state === "READY" || state === "RUNNING");
    if (open.length === 0) {
      story.wake(3_600_000);
      continue;
    }
    const reports = Array.from({ length: 1 + (pick() % 3) }, () => {
      if (old.length > 0 && pick() % 4 === 0) return old[pick() % old.length] ?? reportOf(open, nodes, pick);
      return reportOf(open, nodes, pick);
    });
    story.report(...reports);
    old.push(...reports);
  }
}

function reportOf(open: readonly { name: string; attempt: number }[], nodes: readonly Node[], pick: () => number) {
  const step = open[pick() % open.length];
  if (step === undefined) throw new Error("nothing is open");
  const index = Number(step.name.slice(1));
  const { end, attempts } = nodes[index] as Node;
  const about = { step: step.name, attempt: step.attempt };
  if (pick() % 3 === 0) return { ...about, outcome: "STARTED" } as const;
  // Attempts fail until the last, whose end is the one that counts.
  if (step.attempt < attempts && (end === "FAILED" || end === "TIMED_OUT" || end === "SUCCEEDED")) {
    return { ...about, outcome: "FAILED", reason: "EXIT_CODE" } as const;
  }
  return {
    ...about,
    outcome: end,
    reason: "OPERATOR_SAID",
    ...(end === "SUCCEEDED" ? { result: index, reason: "UNSPECIFIED" } : {}),
  } as const;
}

it("any workflow ends as the rules say, whatever the order in which its steps end, and promotes each step once for each attempt", () => {
  fc.assert(
    fc.property(dag, fc.infiniteStream(fc.nat()), (nodes, picks) => {
      const expected = modelOf(nodes);
      const story = tell(specOf(nodes));
      play(story, nodes, () => picks.next().value as number);
      expect(Object.values(story.states())).toEqual(expected);
      expect(story.job().state).toBe(jobEndOf(nodes, expected));
      const attempts = story
        .job()
        .steps.flatMap(({ name, attempt, executionId }) =>
          executionId === null ? [] : Array.from({ length: attempt }, () => name),
        );
      expect([...story.ready].sort()).toEqual(attempts.sort());
      expect(
        story.changes.filter(({ change }) => change.noun === "job" && isJobTerminal(change.job.state)),
      ).toHaveLength(1);
    }),
    { numRuns: 600 },
  );
}, 30_000);
