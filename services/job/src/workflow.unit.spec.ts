import { describe, expect, it } from "vitest";
import { tell } from "./workflowStory.ts";

const failed = { outcome: "FAILED", reason: "EXIT_CODE", message: "exit code 1" } as const;

const diamond = {
  steps: [
    { name: "a" },
    { name: "b", dependsOn: ["a"] },
    { name: "c", dependsOn: ["a"] },
    { name: "d", dependsOn: ["b", "c"] },
  ],
};

describe("the steps of a workflow", () => {
  it("begin when all that they depend on has ended well, and the job ends with the result of its leaf", () => {
    const story = tell(diamond);
    story.begin();
    expect(story.states()).toMatchObject({ a: "READY QUEUED", b: "BLOCKED WAITING_DEPENDENCY" });
    story.report({ step: "a", outcome: "STARTED" });
    expect(story.job()).toMatchObject({ state: "RUNNING", reason: "UNSPECIFIED" });
    story.report({ step: "a", outcome: "SUCCEEDED" });
    story.report({ step: "b", outcome: "SUCCEEDED" });
    expect(story.states()).toMatchObject({ c: "READY QUEUED", d: "BLOCKED WAITING_DEPENDENCY" });
    story.report({ step: "c", outcome: "SUCCEEDED" });
    story.report({ step: "d", outcome: "SUCCEEDED", result: { answer: 42 } });
    expect(story.job()).toMatchObject({ state: "SUCCEEDED", result: { answer: 42 } });
    expect(story.ready).toEqual(["a", "b", "c", "d"]);
    expect(story.changes.map(({ change }) => `${change.noun}.${change.event}`)).toEqual([
      "step.ready",
      "job.started",
      "step.succeeded",
      "step.succeeded",
      "step.succeeded",
      "job.succeeded",
    ]);
  });

  it("give an object of their results by name where several are leaves", () => {
    const story = tell({ steps: [{ name: "a" }, { name: "b" }, { name: "c" }] });
    story.begin();
    story.runAll((step) => (step === "c" ? {} : { result: step }));
    expect(story.job().result).toEqual({ a: "a", b: "b" });
  });

  it("are SKIPPED when one they depend on has failed, and those beside it go on", () => {
    const story = tell({ steps: [...diamond.steps, { name: "e", dependsOn: ["c"] }] });
    story.begin();
    story.report({ step: "a", outcome: "SUCCEEDED" });
    story.report({ step: "b", ...failed });
    expect(story.states()).toMatchObject({ c: "READY QUEUED", d: "SKIPPED DEPENDENCY_FAILED" });
    story.runAll();
    expect(story.states()).toMatchObject({ c: "SUCCEEDED", e: "SUCCEEDED" });
    expect(story.job()).toMatchObject({ state: "FAILED", reason: "EXIT_CODE", message: "step b: exit code 1" });
  });

  it("are SKIPPED all along the way behind a failure", () => {
    const story = tell({
      steps: [{ name: "a" }, { name: "b", dependsOn: ["a"], continueOnFailure: true }, { name: "c", dependsOn: ["b"] }],
    });
    story.begin();
    story.report({ step: "a", ...failed });
    expect(story.states()).toMatchObject({ b: "SKIPPED DEPENDENCY_FAILED", c: "SKIPPED DEPENDENCY_FAILED" });
  });

  it("go on behind a failure that says so, for which the job does not fail", () => {
    const story = tell({
      steps: [
        { name: "a", continueOnFailure: true },
        { name: "b", dependsOn: ["a"] },
      ],
    });
    story.begin();
    story.report({ step: "a", ...failed });
    story.runAll();
    expect(story.states()).toEqual({ a: "FAILED EXIT_CODE", b: "SUCCEEDED" });
    expect(story.job().state).toBe("SUCCEEDED");
  });

  it("are SKIPPED by a condition, and so is what depends only on skipped ones", () => {
    const story = tell({
      input: { deploy: false },
      steps: [
        { name: "a", when: "input.deploy" },
        { name: "b", dependsOn: ["a"] },
        { name: "c" },
        { name: "d", dependsOn: ["b", "c"] },
      ],
    });
    story.begin();
    expect(story.states()).toMatchObject({ a: "SKIPPED CONDITION_FALSE", b: "SKIPPED DEPENDENCIES_SKIPPED" });
    story.runAll();
    expect(story.states()).toMatchObject({ d: "SUCCEEDED" });
    expect(story.job().state).toBe("SUCCEEDED");
  });

  it("all skipped are a success, although nothing ever ran", () => {
    const story = tell({ steps: [{ name: "a", when: "false" }] });
    story.begin();
    expect(story.job()).toMatchObject({ state: "SUCCEEDED", result: undefined });
  });

  it("fail over an expression that cannot be evaluated, with a message", () => {
    const story = tell({
      steps: [{ name: "a" }, { name: "b", dependsOn: ["a"], input: "${{ steps.a.result.size + 1 }}" }],
    });
    story.begin();
    story.report({ step: "a", outcome: "SUCCEEDED", result: { size: "large" } });
    expect(story.states()).toMatchObject({ b: "FAILED EXPRESSION_FAILED" });
    expect(story.step("b").message).toContain("input: `steps.a.result.size + 1`");
    expect(story.job()).toMatchObject({ state: "FAILED", reason: "EXPRESSION_FAILED" });
  });

  it("are told with results filled in, read only if an expression asks, and again for the next attempt", () => {
    const story = tell({
      steps: [
        { name: "a" },
        { name: "b" },
        {
          name: "c",
          dependsOn: ["a", "b"],
          input: { width: "${{ steps.a.result.width }}" },
          retry: { maxAttempts: 2, initialBackoff: { seconds: 1, nanos: 0 } },
        },
      ],
    });
    story.begin();
    story.report({ step: "a", outcome: "SUCCEEDED", result: { width: 100 } });
    story.report({ step: "b", outcome: "SUCCEEDED", result: "large" });
    expect(story.read).toEqual(["a"]);
    const told = () => story.changes.at(-1)?.change.told?.get("c");
    expect(told()).toMatchObject({ input: { width: 100 }, dependsOn: [] });
    story.report({ step: "c", ...failed });
    expect(story.states()).toMatchObject({ c: "BACKOFF EXIT_CODE" });
    story.wake(2_000);
    expect(story.step("c")).toMatchObject({ state: "READY", attempt: 2 });
    expect(told()).toMatchObject({ input: { width: 100 } });
  });

  it("wait together for not_before, which holds back only those that wait for nothing else", () => {
    const story = tell({ ...diamond, notBefore: new Date("2026-01-01T00:01:00Z") });
    expect(story.states()).toMatchObject({ a: "BLOCKED NOT_BEFORE", b: "BLOCKED WAITING_DEPENDENCY" });
    story.wake(30_000);
    expect(story.states()).toMatchObject({ a: "BLOCKED NOT_BEFORE" });
    story.wake(30_000);
    expect(story.states()).toMatchObject({ a: "READY QUEUED" });
    story.runAll();
    expect(story.job().state).toBe("SUCCEEDED");
  });

  it("that a report names and that are not executed themselves are stale", () => {
    const story = tell({ steps: [{ name: "a", forEach: { items: [1] } }] });
    story.begin();
    expect(story.report({ step: "a", outcome: "SUCCEEDED" })).toEqual(["STALE"]);
    expect(story.report({ step: "a.0", outcome: "SUCCEEDED" })).toEqual(["APPLIED"]);
  });
});

it("what places steps is told of READY ones by facts of steps, and not by one of a job that begins", () => {
  const story = tell(diamond);
  story.begin();
  story.report({ step: "a", outcome: "SUCCEEDED" });
  expect(
    story.changes.map(({ change: { noun, event, moved } }) => [`${noun}.${event}`, ...moved.map(({ name }) => name)]),
  ).toEqual([
    ["step.ready", "a"],
    ["job.started", "a"],
    ["step.ready", "b", "c"],
  ]);
});

describe("reports that come together", () => {
  it("share a fact if they say the same", () => {
    const story = tell({ steps: [{ name: "a" }, { name: "b" }, { name: "c" }, { name: "d", dependsOn: ["a", "b"] }] });
    story.begin();
    story.report({ step: "a", outcome: "STARTED" });
    const before = story.changes.length;
    const answers = story.report(
      { step: "a", outcome: "SUCCEEDED" },
      { step: "c", ...failed },
      { step: "b", outcome: "SUCCEEDED" },
      { step: "b", outcome: "SUCCEEDED" },
    );
    expect(answers).toEqual(["APPLIED", "APPLIED", "APPLIED", "REPEATED"]);
    const facts = story.changes.slice(before).map(({ change }) => [change.event, change.moved.map(({ name }) => name)]);
    expect(facts).toEqual([
      ["succeeded", ["a", "b"]],
      ["failed", ["c", "d"]],
    ]);
  });

  it("are told in as many facts as it takes", () => {
    const args = ["x".repeat(1_000)];
    const fan = Array.from({ length: 998 }, (_, index) => ({ name: `s${index}`, dependsOn: ["first"], args }));
    const story = tell({ steps: [{ name: "first" }, ...fan] });
    story.begin();
    const before = story.changes.length;
    story.report({ step: "first", outcome: "SUCCEEDED" });
    const facts = story.changes.slice(before).map(({ change }) => change);
    expect(facts.length).toBeGreaterThan(3);
    expect(facts.flatMap(({ moved }) => moved)).toHaveLength(999);
    expect(facts.map(({ job }) => job.sequence)).toEqual(facts.map((_, index) => 3 + index));
    for (const { told } of facts) expect(JSON.stringify([...(told ?? [])]).length).toBeLessThan(400 * 1_024);
  });
});

it("large results are read a few at a time, and the steps that read them begin in passes that follow at once", () => {
  const large = Array.from({ length: 100 }, (_, index) => ({ name: `large${index}` }));
  const readers = large.map(({ name }, index) => ({
    name: `reader${index}`,
    dependsOn: ["gate", name],
    input: `\${{ size(steps.${name}.result) }}`,
  }));
  const story = tell({ steps: [{ name: "gate" }, ...large, ...readers] });
  story.begin();
  for (const { name } of large) story.report({ step: name, outcome: "SUCCEEDED", result: "x".repeat(256_000) });
  story.report({ step: "gate", outcome: "SUCCEEDED" });
  let passes = 1;
  for (; story.job().steps.some(({ dueTime }) => dueTime !== null); passes += 1) story.wake(0);
  expect(passes).toBe(2);
  const told = story.changes
    .flatMap(({ change }) => [...(change.told ?? [])])
    .filter(([name]) => name.startsWith("reader"));
  expect(told.map(([, { input }]) => input)).toEqual(large.map(() => 256_000));
});
