import { ExpressionError } from "@capstan/expressions";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { checkSpec, completeSpec } from "./jobSpec.ts";
import { renderStep } from "./renderStep.ts";

const now = new Date("2026-01-01T00:00:00Z");

type Fields = Readonly<Record<string, unknown>>;

/** Steps that run `true`, with the fields of each by its name. */
function aWorkflow(steps: Readonly<Record<string, Fields>>, fields: Fields = {}): JobSpec {
  const list = Object.entries(steps).map(([name, step]) => ({
    name,
    ...(isProgram(step) ? {} : { command: ["true"] }),
    ...step,
  }));
  return JobSpec.fromJSON({ name: "w", steps: list, ...fields });
}

function isProgram(step: Fields): boolean {
  return ["script", "image", "handler", "subJob", "approval", "signal", "sleep", "command"].some(
    (kind) => kind in step,
  );
}

function problemsOf(spec: JobSpec): readonly string[] {
  return checkSpec(spec, "spec", now).map(({ field, description }) => `${field} ${description}`);
}

it("a workflow with one of everything is good", () => {
  const spec = aWorkflow(
    {
      "build-all": { env: { REF: "${{ input.ref }}" }, compensate: "undo" },
      test: {
        dependsOn: ["build-all"],
        forEach: { expression: 'steps["build-all"].result.suites', maxParallel: 4 },
        command: ["run", "${{ item.name }}", "${{ index }}"],
      },
      ask: {
        dependsOn: ["test"],
        approval: { message: "ship ${{ input.ref }}?", timeout: "3600s", onTimeout: "TIMEOUT_OUTCOME_SKIP" },
      },
      paid: { dependsOn: ["test"], signal: { name: "paid-${{ input.ref }}" } },
      nap: { dependsOn: ["ask"], sleep: { duration: "10s" }, when: 'steps.ask.result.decision == "APPROVED"' },
      ship: {
        dependsOn: ["nap", "paid"],
        subJob: { template: { name: "ship", parameters: { build: '${{ steps["build-all"].result }}' } } },
      },
      undo: { command: ["undo"] },
      tell: { command: ["tell", "${{ job.outcome }}", "${{ steps.exists(s, steps[s].state == 'FAILED') }}"] },
    },
    {
      input: { ref: "v1" },
      onFailure: ["tell"],
      onCancel: ["tell"],
      queue: "builds",
      concurrencyKey: "ref-${{ input.ref }}",
    },
  );
  expect(problemsOf(spec)).toEqual([]);
  expect(checkSpec(completeSpec(spec), "spec", now)).toEqual([]);
});

describe("refuses", () => {
  const cases: readonly [what: string, spec: JobSpec, ...problems: (string | RegExp)[]][] = [
    [
      "a step without a name",
      aWorkflow({ a: {}, "": {} }),
      "spec.steps[1].name is required in a job of more than one step",
    ],
    [
      "two steps with one name",
      JobSpec.fromJSON({
        name: "w",
        steps: [
          { name: "a", command: ["x"] },
          { name: "a", command: ["x"] },
        ],
      }),
      "spec.steps[1].name is the name of steps[0] too",
    ],
    [
      "names that differ only by case",
      aWorkflow({ build: {}, Build: {} }),
      /^spec\.steps\[1\]\.name must match/,
      "spec.steps[1].name differs from the name of steps[0] only by case",
    ],
    [
      "a dependency on no step",
      aWorkflow({ a: { dependsOn: ["b"] } }),
      'spec.steps[0].depends_on[0] "b" is not the name of a step',
    ],
    [
      "a dependency on itself",
      aWorkflow({ a: { dependsOn: ["a"] } }),
      "spec.steps[0].depends_on[0] is the step itself",
    ],
    [
      "the same dependency twice",
      aWorkflow({ a: {}, b: { dependsOn: ["a", "a"] } }),
      "spec.steps[1].depends_on[1] a is named twice",
    ],
    [
      "a cycle, with its path, and what waits for it",
      aWorkflow({ z: {}, c: { dependsOn: ["a"] }, a: { dependsOn: ["z", "b"] }, b: { dependsOn: ["a"] } }),
      "spec.steps[2].depends_on makes a cycle: a -> b -> a",
      "spec.steps[1].depends_on can never be reached: it waits for steps that wait for each other",
    ],
    [
      "each of two cycles",
      aWorkflow({ a: { dependsOn: ["b"] }, b: { dependsOn: ["a"] }, c: { dependsOn: ["d"] }, d: { dependsOn: ["c"] } }),
      "spec.steps[0].depends_on makes a cycle: a -> b -> a",
      "spec.steps[2].depends_on makes a cycle: c -> d -> c",
    ],
    [
      "hooks that are not there",
      aWorkflow({ a: {} }, { onSuccess: ["x"], onCancel: ["a", "y"] }),
      'spec.on_success[0] "x" is not the name of a step',
      'spec.on_cancel[1] "y" is not the name of a step',
      "spec.steps has only steps of hooks and compensation; nothing would run",
    ],
    [
      "a hook twice in a list",
      aWorkflow({ a: {}, h: {} }, { onSuccess: ["h", "h"] }),
      "spec.on_success[1] is named twice",
    ],
    [
      "a dependency on a hook",
      aWorkflow({ a: { dependsOn: ["h"] }, h: {} }, { onFailure: ["h"] }),
      "spec.steps[0].depends_on[0] h runs only as a hook",
    ],
    [
      "a hook that depends on a step",
      aWorkflow({ a: {}, h: { dependsOn: ["a"] } }, { onFailure: ["h"] }),
      "spec.steps[1].depends_on cannot be given with a step that runs as a hook",
    ],
    [
      "a compensation of each item",
      aWorkflow({ a: { compensate: "u" }, u: { forEach: { items: [1] } } }),
      "spec.steps[1].for_each cannot be given with a step that undoes another",
    ],
    [
      "a compensation that is not there",
      aWorkflow({ a: { compensate: "u" } }),
      'spec.steps[0].compensate "u" is not the name of a step',
    ],
    ["a step that undoes itself", aWorkflow({ a: { compensate: "a" } }), "spec.steps[0].compensate is the step itself"],
    [
      "a step that undoes two",
      aWorkflow({ a: { compensate: "u" }, b: { compensate: "u" }, u: {} }),
      "spec.steps[1].compensate u undoes a already",
    ],
    [
      "a hook that undoes",
      aWorkflow({ a: { compensate: "u" }, u: {} }, { onCancel: ["u"] }),
      "spec.steps[0].compensate u is a hook; a step cannot be both",
    ],
    [
      "two kinds of step in one",
      aWorkflow({ a: { command: ["x"], approval: {} } }),
      "spec.steps[0].command cannot be given together with approval",
    ],
    [
      "an approval and a sleep in one",
      aWorkflow({ a: { approval: {}, sleep: { duration: "1s" } } }),
      "spec.steps[0].sleep cannot be given together with approval",
    ],
    [
      "what only a program has",
      aWorkflow({ a: { signal: { name: "s" }, env: { A: "b" }, retry: { maxAttempts: 3 } } }),
      "spec.steps[0].env cannot be given with signal: it runs no program of its own",
      "spec.steps[0].retry cannot be given with signal: it runs no program of its own",
    ],
    [
      "a step that does nothing",
      JobSpec.fromJSON({ name: "w", steps: [{ name: "a" }] }),
      /^spec\.steps\[0\]\.command is empty; give a command/,
    ],
    [
      "items and an expression",
      aWorkflow({ a: { forEach: { items: [1], expression: "[1]" } } }),
      "spec.steps[0].for_each needs exactly one of items and expression",
    ],
    [
      "neither items nor an expression",
      aWorkflow({ a: { forEach: {} } }),
      "spec.steps[0].for_each needs exactly one of items and expression",
    ],
    [
      "10,001 items",
      aWorkflow({ a: { forEach: { items: Array.from({ length: 10_001 }, () => 1) } } }),
      "spec.steps[0].for_each.items has 10001 items; the limit is 10000",
    ],
    [
      "10,001 items and steps",
      aWorkflow({ a: { forEach: { items: Array.from({ length: 10_000 }, () => 1) } } }),
      "spec.steps come to 10001 with the items of for_each; the limit is 10000",
    ],
    [
      "a negative max_parallel",
      aWorkflow({ a: { forEach: { items: [1], maxParallel: -1 } } }),
      "spec.steps[0].for_each.max_parallel is -1; it must be from 0 to 10000",
    ],
    [
      "a sleep of two kinds",
      aWorkflow({ a: { sleep: { duration: "1s", expression: "'x'" } } }),
      "spec.steps[0].sleep needs exactly one of duration, until and expression, but has 2",
    ],
    [
      "a sleep of 367 days",
      aWorkflow({ a: { sleep: { duration: `${367 * 86_400}s` } } }),
      /^spec\.steps\[0\]\.sleep\.duration is 31708800 s/,
    ],
    [
      "a short timeout of an approval",
      aWorkflow({ a: { approval: { timeout: "0.5s" } } }),
      /^spec\.steps\[0\]\.approval\.timeout is 0.5 s; it must be from 1 s/,
    ],
    [
      "a bad name of a signal",
      aWorkflow({ a: { signal: { name: "a b" } } }),
      /^spec\.steps\[0\]\.signal\.name must match/,
    ],
    ["a sub-job without a template", aWorkflow({ a: { subJob: {} } }), "spec.steps[0].sub_job.template is required"],
    [
      "a bad template",
      aWorkflow({ a: { subJob: { template: { name: "T", version: -1 } } } }),
      /^spec\.steps\[0\]\.sub_job\.template\.name must match/,
      /version is -1; it must be from 0/,
    ],
    [
      "an expression in a script",
      aWorkflow({ a: { script: { content: "echo ${{ input.x }}" } } }),
      "spec.steps[0].script.content cannot hold ${{ … }}: give the value by env, and read it there as a variable",
    ],
    [
      "a condition in braces",
      aWorkflow({ a: { when: "${{ true }}" } }),
      "spec.steps[0].when is an expression as a whole: write it without ${{ }}",
    ],
    [
      "an expression that does not end",
      aWorkflow({ a: { command: ["echo", "${{ input"] } }),
      "spec.steps[0].command[1] begins an expression that no }} ends",
    ],
    [
      "an expression that is none",
      aWorkflow({ a: { handler: "h", command: undefined, input: { n: ["${{ 1 + }}"] } } }),
      'spec.steps[0].input["n"][0] `1 +` is no expression: Unexpected token: EOF at character 4',
    ],
    [
      "a name that is not there",
      aWorkflow({ a: { command: ["echo", "${{ item }}"] } }),
      "spec.steps[0].command[1] `item` reads item, which is no name here; there are input, steps, job",
    ],
    [
      "an item in the condition of the step",
      aWorkflow({ a: { forEach: { items: [1] }, when: "item == 1" } }),
      /^spec\.steps\[0\]\.when `item == 1` reads item/,
    ],
    [
      "a name with a dash that is not in brackets",
      aWorkflow({ "a-b": {}, c: { dependsOn: ["a-b"], when: "steps.a-b.result" } }),
      /reads b, which is no name here; a name with "-" in it is written in brackets/,
      /which is not the name of a step/,
    ],
    [
      "a step that is not there",
      aWorkflow({ a: { when: "steps.b.result" } }),
      'spec.steps[0].when `steps.b.result` reads steps["b"], which is not the name of a step',
    ],
    [
      "a step that may not have ended",
      aWorkflow({ a: {}, b: { when: "steps.a.result" } }),
      "spec.steps[1].when `steps.a.result` reads a without depending on it; add a to depends_on",
    ],
    [
      "its own result",
      aWorkflow({ a: { when: "steps.a.result" } }),
      "spec.steps[0].when `steps.a.result` reads the step itself",
    ],
    [
      "a hook's result",
      aWorkflow({ a: { when: "steps.h.result" }, h: {} }, { onSuccess: ["h"] }),
      /reads h, which runs only as a hook or to undo another step/,
    ],
    [
      "steps whose names are not written down",
      aWorkflow({ a: { when: "steps[input.x].result" } }),
      /reads steps by names that are not written down/,
    ],
    [
      "a key over steps",
      aWorkflow({ a: {} }, { concurrencyKey: "${{ steps.a.result }}" }),
      "spec.concurrency_key `steps.a.result` reads steps, which is no name here; there are input",
    ],
    [
      "very many expressions",
      aWorkflow({ a: { handler: "h", input: Array.from({ length: 5_001 }, () => "${{1}}") } }),
      "spec.steps hold more than 5000 expressions; that is the limit",
    ],
  ];
  test.each(cases)("%s", (_, spec, ...expected) => {
    const problems = problemsOf(spec);
    expect(problems).toHaveLength(expected.length);
    for (const [index, problem] of expected.entries()) {
      if (typeof problem === "string") expect(problems[index]).toBe(problem);
      else expect(problems[index]).toMatch(problem);
    }
  });
});

it("a step may read what it depends on indirectly", () => {
  const chain = Object.fromEntries(
    Array.from({ length: 100 }, (_, n) => [
      `s${n}`,
      n === 0 ? {} : { dependsOn: [`s${n - 1}`], when: `steps.s${n >> 1}.state == "x"` },
    ]),
  );
  expect(problemsOf(aWorkflow(chain))).toEqual([]);
});

it("the one step of a job without a name can be named main", () => {
  expect(problemsOf(JobSpec.fromJSON({ name: "w", steps: [{ command: ["x"] }], onFailure: ["main"] }))).toEqual([
    "spec.steps has only steps of hooks and compensation; nothing would run",
  ]);
});

it("says of random graphs that they have a cycle exactly when a step can reach itself", () => {
  const graph = fc.integer({ min: 1, max: 8 }).chain((count) =>
    fc.array(fc.uniqueArray(fc.integer({ min: 0, max: count - 1 }), { maxLength: 3 }), {
      minLength: count,
      maxLength: count,
    }),
  );
  fc.assert(
    fc.property(graph, (edges) => {
      const steps = edges.map(
        (on, n) => [`s${n}`, { dependsOn: on.filter((m) => m !== n).map((m) => `s${m}`) }] as const,
      );
      const problems = problemsOf(aWorkflow(Object.fromEntries(steps)));
      const reaches = (from: number, to: number, seen = new Set<number>()): boolean =>
        (edges[from] ?? []).some((on) => {
          if (on === from || seen.has(on)) return false;
          seen.add(on);
          return on === to || reaches(on, to, seen);
        });
      const hasCycle = edges.some((_, n) => reaches(n, n));
      expect(problems.some((problem) => problem.includes("makes a cycle"))).toBe(hasCycle);
      for (const problem of problems) {
        const path = /makes a cycle: (.*)$/
          .exec(problem)?.[1]
          ?.split(" -> ")
          .map((name) => Number(name.slice(1)));
        for (const [at, n] of (path ?? []).slice(0, -1).entries()) expect(edges[n]).toContain(path?.[at + 1]);
      }
    }),
  );
});

it("a thousand steps with as many expressions are checked in no time", () => {
  const steps = Object.fromEntries(
    Array.from({ length: 998 }, (_, n) => [
      `s${n}`,
      { dependsOn: ["first"], handler: "h", input: { n, from: "${{ steps.first.result }}" } },
    ]),
  );
  const last = {
    dependsOn: Object.keys(steps),
    handler: "h",
    input: { sum: "${{ steps.s1.result + steps.s2.result }}" },
  };
  const spec = aWorkflow({ first: { handler: "h" }, ...steps, last });
  const start = performance.now();
  for (let run = 0; run < 10; run += 1) expect(checkSpec(spec, "spec", now)).toEqual([]);
  const ms = (performance.now() - start) / 10;
  expect(ms).toBeLessThan(200);
});

it("whatever a spec says, it is refused or every step of it can be filled in or fails with an expression that says why", () => {
  const name = fc.constantFrom("a", "b", "c", "d", "A", "", "steps");
  const text = fc.constantFrom(
    "x",
    "",
    "${{ input.n }}",
    "${{ steps.a.result }}",
    "a ${{ item }} b",
    "${{ steps['b'].state }}",
    "${{",
    "${{ }}",
    "/${{ index }}",
    "\u0000",
  );
  const expression = fc.constantFrom(
    "",
    "true",
    "input.n",
    "steps.a.result",
    "[1, 2]",
    "steps[input.n]",
    "1 +",
    "job.id",
  );
  const json = fc.oneof(text, fc.array(text, { maxLength: 2 }), fc.dictionary(fc.constantFrom("k", "__proto__"), text));
  const field = fc.oneof(
    fc.record({ name }),
    fc.record({ command: fc.array(text, { maxLength: 2 }), handler: fc.constant("") }),
    fc.record({ input: json }),
    fc.record({ env: fc.dictionary(fc.constantFrom("A", "__proto__"), text) }),
    fc.record({ workingDirectory: text }),
    fc.record({ dependsOn: fc.array(name, { maxLength: 2 }) }),
    fc.record({ when: expression }),
    fc.record({ forEach: fc.record({ items: fc.array(json, { maxLength: 2 }), expression }, { requiredKeys: [] }) }),
    fc.record({ compensate: name }),
    fc.record({ handler: fc.constant(""), approval: fc.record({ message: text }) }),
    fc.record({ handler: fc.constant(""), signal: fc.record({ name: text }) }),
    fc.record({ handler: fc.constant(""), sleep: fc.record({ expression }) }),
    fc.record({
      handler: fc.constant(""),
      subJob: fc.record({ template: fc.record({ name, parameters: fc.dictionary(name, json) }) }),
    }),
  );
  const fields = fc.array(field, { maxLength: 2 }).map((parts) => Object.assign({}, ...parts) as Fields);
  const names = fc.array(name, { maxLength: 1 });
  const spec = fc
    .record(
      { steps: fc.array(fields, { maxLength: 4 }), onSuccess: names, onCancel: names, concurrencyKey: text },
      { requiredKeys: ["steps"] },
    )
    .map(({ steps, ...rest }) => {
      const named = steps.map((step, at) => ({ name: "abcd"[at], handler: "h", ...step }));
      return { name: "w", ...rest, steps: named };
    });
  let accepted = 0;
  fc.assert(
    fc.property(spec, (json) => {
      const read = JobSpec.fromJSON(json);
      if (checkSpec(read, "spec", now).length > 0) return;
      accepted += 1;
      const completed = completeSpec(read);
      expect(checkSpec(completed, "spec", now)).toEqual([]);
      const steps = Object.fromEntries(completed.steps.map(({ name }) => [name, { state: "SUCCEEDED", result: 1 }]));
      for (const step of completed.steps) {
        try {
          renderStep(step, { input: { n: 1 }, steps, job: { id: "j" }, item: "i", index: 0 });
        } catch (error) {
          expect(error).toBeInstanceOf(ExpressionError);
        }
      }
    }),
    { numRuns: 3_000 },
  );
  expect(accepted).toBeGreaterThan(30);
});
