/** Workflows that cannot work: refused with everything that is wrong, or ended FAILED with the reason; nothing hangs, nothing is kept. */
import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import type { ApprovalDecision } from "@capstan/proto/capstan/job/v1/job_service.ts";
import type { JobSpec, StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { type Part, refusalOf, untilEnded } from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();

type Steps = readonly Part<StepSpec>[];

function submit(steps: Steps, fields: Part<Omit<JobSpec, "steps">> = {}) {
  return platform().capstan.jobs.submit({ spec: { name: "bad", ...fields, steps } });
}

async function ended(steps: Steps, fields: Part<Omit<JobSpec, "steps">> = {}): Promise<Job> {
  return untilEnded(platform().capstan, await submit(steps, fields));
}

async function countJobs(): Promise<unknown> {
  const [counts] = await queryOnce(platform().database.adminUrl, "select count(*) as jobs from job.job");
  return counts;
}

/** Begins with one text, and the other is somewhere in it. */
function literally(start: string, part: string): RegExp {
  return new RegExp(`^${RegExp.escape(start)}.*${RegExp.escape(part)}`);
}

const step = (name: string, fields: Part<StepSpec> = {}): Part<StepSpec> => ({ name, command: ["true"], ...fields });

describe("is refused, and nothing is kept of it,", () => {
  let before: unknown;
  beforeAll(async () => {
    before = await countJobs();
  });
  afterAll(async () => {
    expect(await countJobs()).toEqual(before);
  });

  const many = (count: number) => Array.from({ length: count }, (_, n) => step(`s${n}`));
  const cases: readonly [what: string, steps: Steps, field: string, says: string][] = [
    [
      "a cycle, with its path",
      [step("a", { dependsOn: ["c"] }), step("b", { dependsOn: ["a"] }), step("c", { dependsOn: ["b"] })],
      "spec.steps[0].depends_on",
      "makes a cycle: a -> c -> b -> a",
    ],
    ["1,001 steps", many(1_001), "spec.steps", "has 1001 steps; the limit is 1000"],
    ["names that differ by case", [step("build"), step("Build")], "spec.steps[1].name", "only by case"],
    [
      "a step that does not exist",
      [step("a", { dependsOn: ["x"] })],
      "spec.steps[0].depends_on[0]",
      "not the name of a step",
    ],
    ["an expression that is none", [step("a", { when: "1 +" })], "spec.steps[0].when", "is no expression"],
    [
      "an expression of 4,097 characters",
      [step("a", { when: "1".padEnd(4_097) })],
      "spec.steps[0].when",
      "the limit is 4096",
    ],
    ["code", [step("a", { when: "process.exit(1)" })], "spec.steps[0].when", "calls .exit()"],
    ["a pattern", [step("a", { when: "'a'.matches('(a+)+$')" })], "spec.steps[0].when", "could run for ever"],
    [
      "10,001 items",
      [step("a", { forEach: { items: many(10_001).map(() => 1) } })],
      "spec.steps[0].for_each.items",
      "the limit is 10000",
    ],
    [
      "an expression in a script",
      [step("a", { command: [], script: { content: "echo ${{ input }}" } })],
      "spec.steps[0].script.content",
      "by env",
    ],
  ];
  test("NUL in an input, which nothing could read out of the database again", async () => {
    for (const bad of ["a\0b", { "a\0": 1 }]) {
      const refusal = await refusalOf(submit([step("a")], { input: bad }));
      expect(refusal.fields).toMatchObject([{ field: "spec.input", description: expect.stringContaining("NUL") }]);
    }
  });

  test.each(cases)("%s", async (_, steps, field, says) => {
    const refusal = await refusalOf(submit(steps));
    expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELDS" });
    const told = refusal.fields.map((violation) => `${violation.field} ${violation.description}`);
    expect(told).toContainEqual(expect.stringMatching(literally(`${field} `, says)));
  });
});

describe("fails its step with the reason, and soon,", () => {
  const doubling = Array.from({ length: 30 }).reduce<string>(
    (body, _, n) => `cel.bind(v${n}, ${n === 29 ? "'0123456789'" : `v${n + 1} + v${n + 1}`}, ${body})`,
    "v0",
  );
  const large = "x".repeat(100_000);
  const cases: readonly [what: string, failing: Part<StepSpec>, says: string][] = [
    [
      "an expression that runs for ever",
      { when: "range(10000).all(a, range(10000).all(b, range(10000).all(c, true)))" },
      "300000 units of work",
    ],
    ["an expression that makes 10 GB", { args: [`\${{ ${doubling} }}`] }, "the limit is 262144"],
    ["a for_each over a text", { forEach: { expression: "input.text" } }, "gives a text; it must give a list"],
    [
      "a for_each of 10,001 items",
      { forEach: { expression: "range(10000) + [1]" } },
      "gives 10001 items; the limit is 10000",
    ],
    [
      "a result that is too large together",
      { args: ["${{ [steps.first.result, steps.first.result, steps.first.result] }}"] },
      "more than 262144 bytes",
    ],
    [
      "what is not there",
      { env: { A: "${{ steps.first.result.missing }}" } },
      'env["A"]: `steps.first.result.missing` reads',
    ],
    ["NUL in an argument", { args: ["${{ 'a\\u0000b' }}"] }, "args[0]: must not contain NUL"],
    ["a condition that is a text", { when: "input.text" }, "it must give true or false"],
  ];
  test.each(cases)("%s", async (_, failing, says) => {
    const start = performance.now();
    const first = step("first", { command: ["sh", "-c", `echo 'CAPSTAN_OUTPUT="${large}"'`] });
    const input = { text: "hello" };
    const job = await ended(
      [first, step("bad", { dependsOn: ["first"], ...failing }), step("after", { dependsOn: ["bad"] })],
      { input },
    );
    expect(job).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_EXPRESSION_FAILED" });
    const stepOf = (name: string) => job.steps.find((candidate) => candidate.name === name);
    expect(stepOf("bad")).toMatchObject({
      state: "STEP_STATE_FAILED",
      reason: "REASON_EXPRESSION_FAILED",
      message: expect.stringContaining(says),
    });
    expect(stepOf("after")).toMatchObject({ state: "STEP_STATE_SKIPPED", reason: "REASON_DEPENDENCY_FAILED" });
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});

test("what an expression gives is data: neither a shell nor an expression", async () => {
  const evil = '"; echo CAPSTAN_OUTPUT=1; "$(echo CAPSTAN_OUTPUT=2) ${{ job.id }}';
  const shown = {
    script: { content: 'printf "CAPSTAN_OUTPUT=%s" "$VALUE"' },
    env: { VALUE: "${{ [steps.first.result, input.evil] }}" },
  };
  const first = step("first", { command: ["printf", "CAPSTAN_OUTPUT=%s"], args: ["${{ [input.evil] }}"] });
  const job = await ended([first, { name: "second", dependsOn: ["first"], ...shown }], { input: { evil } });
  expect(job.result).toEqual([[evil], evil]);
});

test("hostile expressions do not keep others waiting", async () => {
  const hostile = step("a", { when: "range(10000).all(a, range(10000).all(b, a + b >= 0))" });
  const jobs = Promise.all(Array.from({ length: 50 }, () => ended([hostile, step("b")])));
  const start = performance.now();
  await ended([step("a"), step("b", { dependsOn: ["a"] })]);
  expect(performance.now() - start).toBeLessThan(10_000);
  expect(new Set((await jobs).map(({ reason }) => reason))).toEqual(new Set(["REASON_EXPRESSION_FAILED"]));
});

describe("whoever speaks to a job that does not listen is told so:", () => {
  const approve = (
    jobId: string,
    by: string,
    decision = "APPROVAL_DECISION_APPROVE" as ApprovalDecision,
    name = "ask",
  ) => platform().capstan.jobs.decideApproval({ jobId, step: name, decision, note: "", fields: undefined, by });
  const suspended = (jobId: string, name: string) =>
    eventually(async () => {
      const { job } = await platform().capstan.jobs.getJob({ jobId });
      expect(job?.steps.find((candidate) => candidate.name === name)?.state).toBe("STEP_STATE_SUSPENDED");
    });

  test("an approval twice by one person is one, and by another otherwise is refused", async () => {
    const job = await submit([{ name: "ask", approval: { message: "go?" } }]);
    await suspended(job.id, "ask");
    expect((await approve(job.id, "ada")).job?.state).toBe((await approve(job.id, "ada")).job?.state);
    const refusal = await refusalOf(approve(job.id, "bob", "APPROVAL_DECISION_REJECT"));
    expect(refusal.code).toBe("FAILED_PRECONDITION");
    expect(await untilEnded(platform().capstan, job)).toMatchObject({
      state: "JOB_STATE_SUCCEEDED",
      result: { by: "ada" },
    });
  });

  test("an approval of what waits for none, and of no step", async () => {
    const job = await submit([{ name: "nap", sleep: { duration: { seconds: 600, nanos: 0 } } }]);
    await suspended(job.id, "nap");
    expect((await refusalOf(approve(job.id, "ada", "APPROVAL_DECISION_APPROVE", "nap"))).code).toBe(
      "FAILED_PRECONDITION",
    );
    expect((await refusalOf(approve(job.id, "ada", "APPROVAL_DECISION_APPROVE", "x"))).code).toMatch(
      /NOT_FOUND|INVALID_ARGUMENT|FAILED_PRECONDITION/,
    );
    await job.cancel();
    expect((await untilEnded(platform().capstan, job)).state).toBe("JOB_STATE_CANCELLED");
  });

  test("a signal nobody waits for", async () => {
    const { jobs } = platform().capstan;
    const job = await submit([{ name: "wait", signal: { name: "paid" } }]);
    const signal = (name: string) => jobs.sendSignal({ jobId: job.id, name, payload: { n: 1 }, requestId: "" });
    await suspended(job.id, "wait");
    expect((await refusalOf(signal("other"))).code).toBe("FAILED_PRECONDITION");
    expect((await refusalOf(signal("no name"))).code).toBe("INVALID_ARGUMENT");
    expect((await signal("paid")).taken).toBe(true);
    expect((await untilEnded(platform().capstan, job)).result).toEqual({ n: 1 });
    expect((await refusalOf(signal("paid"))).code).toBe("FAILED_PRECONDITION");
  });
});
