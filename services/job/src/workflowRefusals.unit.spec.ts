/** What is said of a workflow that cannot be: each problem with its field, in words. */
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { describe, expect, test } from "vitest";
import { aWorkflow, problemsOf } from "./exampleWorkflow.ts";

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
