import { ExpressionError } from "@capstan/expressions";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import fc from "fast-check";
import { expect, it } from "vitest";
import { aWorkflow, type Fields, now, problemsOf } from "./exampleWorkflow.ts";
import { checkSpec, completeSpec } from "./jobSpec.ts";
import { renderStep } from "./renderStep.ts";

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
