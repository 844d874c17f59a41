import { ExpressionError } from "@capstan/expressions";
import { ForEach, JobSpec, Sleep, StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { describe, expect, it, test } from "vitest";
import { concurrencyKeyOf, conditionOf, itemsOf, renderStep, type Scope, sleepTimeOf } from "./renderStep.ts";

const scope: Scope = {
  input: { n: 3, name: "Ada", list: [1, "two"], big: "x".repeat(200_000), evil: "$" + "{{ job.id }}", nul: "a\0b" },
  steps: { "build-all": { state: "SUCCEEDED", result: { ok: true } }, none: { state: "SKIPPED", result: undefined } },
  job: { id: "j1" },
};

function aStep(fields: object): StepSpec {
  return StepSpec.fromJSON({ name: "s", ...fields });
}

it("fills in every field that may hold expressions", () => {
  const step = aStep({
    command: ["echo", "hello ${{ input.name }}"],
    args: ["${{ input.n }}", "${{ input.list }}", "${{ input.n }}/${{ steps.none.result }}"],
    env: { OK: '${{ steps["build-all"].result.ok }}' },
    workingDirectory: "/data/${{ input.name }}",
    image: "alpine:${{ input.n }}",
  });
  expect(renderStep(step, scope)).toEqual({
    ...step,
    command: ["echo", "hello Ada"],
    args: ["3", '[1,"two"]', "3/null"],
    env: { OK: "true" },
    workingDirectory: "/data/Ada",
    image: "alpine:3",
  });
});

it("keeps the type of a value that stands alone in an input, and makes a text of what stands among text", () => {
  const input = {
    n: "${{ input.n }}",
    list: ["${{ input.list }}", "n=${{ input.n }}"],
    deep: { ok: "${{ true }}" },
    plain: 1,
  };
  expect(renderStep(aStep({ handler: "h", input }), scope).input).toEqual({
    n: 3,
    list: [[1, "two"], "n=3"],
    deep: { ok: true },
    plain: 1,
  });
});

it("fills in parameters, messages and names of signals", () => {
  const subJob = aStep({ subJob: { template: { name: "t", parameters: { n: "${{ input.n }}" } } } });
  expect(renderStep(subJob, scope).subJob?.template?.parameters).toEqual({ n: 3 });
  expect(renderStep(aStep({ approval: { message: "ship ${{ input.name }}?" } }), scope).approval?.message).toBe(
    "ship Ada?",
  );
  expect(renderStep(aStep({ signal: { name: "paid-${{ job.id }}" } }), scope).signal?.name).toBe("paid-j1");
});

it("gives a step without expressions back as it is", () => {
  const step = aStep({ handler: "h", input: { price: "${ 5 }", list: ["{{ x }}"] }, labels: {} });
  expect(renderStep(step, scope)).toBe(step);
});

it("reads the item and its number in a step of for_each", () => {
  const step = aStep({ command: ["echo", "${{ index }}: ${{ item.name }}"] });
  expect(renderStep(step, { ...scope, item: { name: "a" }, index: 4 }).command[1]).toBe("4: a");
  expect(() => renderStep(step, scope)).toThrow("command[1]: `index` reads index, which is no name here");
});

it("does not evaluate what was filled in", () => {
  expect(renderStep(aStep({ command: ["echo", "${{ input.evil }}"] }), scope).command[1]).toBe("$" + "{{ job.id }}");
});

it("fields called __proto__ stay data", () => {
  const input = JSON.parse('{"__proto__": {"x": "${{ input.n }}"}}');
  const step = { ...aStep({ handler: "h" }), input };
  expect(JSON.stringify(renderStep(step, scope).input)).toBe('{"__proto__":{"x":3}}');
});

describe("refuses, naming the field,", () => {
  const cases: readonly [what: string, fields: object, message: string][] = [
    [
      "what is not there",
      { command: ["a", "${{ input.x }}"] },
      "command[1]: `input.x` reads input.x, which is not there",
    ],
    ["an expression that does not end", { args: ["${{ input"] }, "args[0]: begins an expression that no }} ends"],
    ["NUL", { command: ["a", "${{ input.nul }}"] }, "command[1]: must not contain NUL"],
    ["an empty program", { command: ["${{ '' }}"] }, "command[0]: is empty"],
    [
      "a relative directory",
      { command: ["a"], workingDirectory: "${{ input.name }}" },
      "working_directory: must be an absolute path",
    ],
    [
      "a directory that looks like an expression",
      { command: ["a"], workingDirectory: "${{ input.evil }}" },
      "working_directory: must be",
    ],
    ["white space in an image", { image: "${{ 'a b' }}" }, "image: must not contain white space"],
    ["a bad name of a signal", { signal: { name: "${{ 'a b' }}" } }, "signal.name: must match"],
    [
      "a message that is too long",
      { approval: { message: "${{ input.big }}" } },
      "approval.message: is 200000 characters",
    ],
    [
      "a variable that is too long",
      { command: ["a"], env: { A: "${{ input.big }}" } },
      'env["A"]: is 200000 characters; the limit is 131072',
    ],
    [
      "more than 256 KiB in all",
      { handler: "h", input: ["${{ input.big }}", "${{ input.big }}"] },
      "input[1]: more than 262144 bytes",
    ],
    [
      "an expression in an input that has a fault",
      { handler: "h", input: { a: ["${{ 1 / 0 }}"] } },
      'input["a"][0]: `1 / 0` divides by zero',
    ],
  ];
  test.each(cases)("%s", (_, fields, message) => {
    expect(() => renderStep(aStep(fields), scope)).toThrow(ExpressionError);
    expect(() => renderStep(aStep(fields), scope)).toThrow(message);
  });
});

it("a step of very many expressions may do no more work than one", () => {
  const input = Array.from({ length: 5_000 }, () => "${{ range(1000).map(x, x).sum() }}");
  const start = performance.now();
  expect(() => renderStep(aStep({ handler: "h", input }), scope)).toThrow("more than 300000 units of work");
  expect(performance.now() - start).toBeLessThan(1_000);
});

describe("the key of a job", () => {
  const keyOf = (concurrencyKey: string, input: unknown) =>
    concurrencyKeyOf({ ...JobSpec.fromJSON({ concurrencyKey }), input });
  it("is made of its input", () => {
    expect(keyOf("", {})).toBe("");
    expect(keyOf("plain", undefined)).toBe("plain");
    expect(keyOf("user-${{ input.user.id }}", { user: { id: 7 } })).toBe("user-7");
  });
  it.each([
    ["${{ input.user }}", {}, "reads input.user, which is not there"],
    ["${{ input.user }}", undefined, "reads input.user of null"],
    ["${{ input }}", "x".repeat(257), "is 257 characters; the limit is 256"],
    ["${{ input }}", "a\nb", "control characters"],
  ])("%s of %o is refused", (key, input, message) => expect(() => keyOf(key, input)).toThrow(message));
});

describe("a condition", () => {
  it("says whether a step runs", () => {
    expect(conditionOf("", scope)).toBe(true);
    expect(conditionOf("input.n > 2", scope)).toBe(true);
    expect(conditionOf('steps.none.state == "SUCCEEDED"', scope)).toBe(false);
  });
  it("must be true or false", () => {
    expect(() => conditionOf("input.n", scope)).toThrow("when: `input.n` gives a number; it must give true or false");
    expect(() => conditionOf("input.m", scope)).toThrow("when: `input.m` reads input.m, which is not there");
  });
});

describe("the items of for_each", () => {
  it("are a list, or what an expression gives", () => {
    expect(itemsOf(ForEach.fromJSON({ items: [1, { a: 2 }] }), scope)).toEqual([1, { a: 2 }]);
    expect(itemsOf(ForEach.fromJSON({ expression: "range(3).map(i, {'i': i})" }), scope)).toEqual([
      { i: 0 },
      { i: 1 },
      { i: 2 },
    ]);
    expect(itemsOf(ForEach.fromJSON({ items: [] }), scope)).toEqual([]);
  });
  it.each([
    ["input.name", "gives a text; it must give a list"],
    ["input", "more than 262144 bytes of JSON"],
    ["steps.none.result", "gives null"],
    ["range(10000) + [1]", "gives 10001 items; the limit is 10000"],
  ])("refuses %s", (expression, message) => {
    expect(() =>
      itemsOf(ForEach.fromJSON({ expression }), {
        ...scope,
        input: expression === "input" ? ["x".repeat(300_000)] : scope.input,
      }),
    ).toThrow(message);
  });
});

describe("a sleep ends", () => {
  const now = new Date("2026-03-01T12:00:00Z");
  it.each([
    [{ duration: "90s" }, "2026-03-01T12:01:30.000Z"],
    [{ until: "2026-03-02T00:00:00Z" }, "2026-03-02T00:00:00.000Z"],
    [{ expression: "timestamp('2026-03-01T12:00:00Z') + duration('1h')" }, "2026-03-01T13:00:00.000Z"],
    [{ expression: "'2026-03-01T12:00:00+02:00'" }, "2026-03-01T10:00:00.000Z"],
  ])("%o", (sleep, end) => expect(sleepTimeOf(Sleep.fromJSON(sleep), now, scope).toISOString()).toBe(end));
  it.each([
    ["input.name", 'cannot make a time of "Ada"'],
    ["input.n", "gives a number; it must give a time"],
    ["'2028-01-01T00:00:00Z'", "more than 366 days ahead"],
  ])("not at %s", (expression, message) => {
    expect(() => sleepTimeOf(Sleep.fromJSON({ expression }), now, scope)).toThrow(message);
  });
});
