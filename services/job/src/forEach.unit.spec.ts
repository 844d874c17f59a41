import { describe, expect, it } from "vitest";
import { maxListBytes } from "./forEach.ts";
import { tell } from "./workflowStory.ts";

const failed = { outcome: "FAILED", reason: "EXIT_CODE", message: "exit code 1" } as const;

describe("a step with items", () => {
  it("runs once for each, and gives their results in the order of the items", () => {
    const story = tell({
      steps: [
        { name: "list" },
        {
          name: "each",
          dependsOn: ["list"],
          forEach: { expression: "steps.list.result" },
          input: { of: "${{ item.name }}", at: "${{ index }}" },
        },
        { name: "sum", dependsOn: ["each"], input: "${{ steps.each.result }}" },
      ],
    });
    story.begin();
    story.report({ step: "list", outcome: "SUCCEEDED", result: [{ name: "a" }, { name: "b" }, { name: "c" }] });
    expect(story.states()).toMatchObject({ each: "RUNNING", "each.0": "READY QUEUED", "each.2": "READY QUEUED" });
    const told = story.changes.flatMap(({ change }) => [...(change.told ?? [])]);
    expect(told.map(([name, { input }]) => [name, input])).toEqual([
      ["list", undefined],
      ["each.0", { of: "a", at: 0 }],
      ["each.1", { of: "b", at: 1 }],
      ["each.2", { of: "c", at: 2 }],
    ]);
    story.report({ step: "each.2", outcome: "SUCCEEDED", result: "C" });
    story.report({ step: "each.0", outcome: "SUCCEEDED", result: "A" });
    story.report({ step: "each.1", outcome: "SUCCEEDED" });
    expect(story.step("each")).toMatchObject({ state: "SUCCEEDED", result: ["A", null, "C"] });
    expect(story.changes.at(-1)?.change.told?.get("sum")?.input).toEqual(["A", null, "C"]);
    story.runAll();
    expect(story.job().state).toBe("SUCCEEDED");
  });

  it("has at most max_parallel of them begun at once", () => {
    const story = tell({ steps: [{ name: "each", forEach: { items: [1, 2, 3, 4, 5], maxParallel: 2 } }] });
    story.begin();
    const begun = () =>
      story.job().steps.filter(({ parent, state }) => parent !== null && (state === "READY" || state === "RUNNING"))
        .length;
    expect(story.states()).toMatchObject({ "each.1": "READY QUEUED", "each.2": "BLOCKED MAX_PARALLEL" });
    story.report({ step: "each.0", outcome: "STARTED" }, { step: "each.1", outcome: "STARTED" });
    story.report({ step: "each.1", outcome: "SUCCEEDED" });
    expect(begun()).toBe(2);
    story.report({ step: "each.0", outcome: "SUCCEEDED" }, { step: "each.2", outcome: "SUCCEEDED" });
    expect(begun()).toBe(2);
    story.runAll();
    expect(story.job().state).toBe("SUCCEEDED");
    expect(story.ready).toEqual(["each.0", "each.1", "each.2", "each.3", "each.4"]);
  });

  it("of an empty list has succeeded at once", () => {
    const story = tell({
      steps: [
        { name: "each", forEach: { expression: "[]" } },
        { name: "next", dependsOn: ["each"] },
      ],
    });
    story.begin();
    expect(story.states()).toMatchObject({ each: "SUCCEEDED", next: "READY QUEUED" });
    expect(story.step("each").result).toEqual([]);
  });

  it("fails with the first that has failed, begins no more, and waits for those that run", () => {
    const story = tell({
      steps: [
        { name: "each", forEach: { items: [1, 2, 3, 4], maxParallel: 2 } },
        { name: "next", dependsOn: ["each"] },
      ],
    });
    story.begin();
    story.report({ step: "each.1", ...failed });
    expect(story.states()).toMatchObject({
      each: "RUNNING",
      "each.0": "READY QUEUED",
      "each.2": "SKIPPED ITEM_FAILED",
      "each.3": "SKIPPED ITEM_FAILED",
    });
    story.report({ step: "each.0", outcome: "SUCCEEDED" });
    expect(story.states()).toMatchObject({ each: "FAILED ITEM_FAILED", next: "SKIPPED DEPENDENCY_FAILED" });
    expect(story.step("each").message).toBe("item 1: exit code 1");
    expect(story.job()).toMatchObject({
      state: "FAILED",
      reason: "ITEM_FAILED",
      message: "step each: item 1: exit code 1",
    });
  });

  it("gives each item the attempts of its own policy, and a place while it waits for the next", () => {
    const retry = { maxAttempts: 2, initialBackoff: { seconds: 1, nanos: 0 } };
    const story = tell({
      steps: [
        {
          name: "each",
          forEach: { items: ["a", "b"], maxParallel: 1 },
          retry,
          args: ["${{ item }}"],
          command: ["echo"],
        },
      ],
    });
    story.begin();
    story.report({ step: "each.0", ...failed });
    expect(story.states()).toMatchObject({ "each.0": "BACKOFF EXIT_CODE", "each.1": "BLOCKED MAX_PARALLEL" });
    story.wake(2_000);
    expect(story.step("each.0")).toMatchObject({ state: "READY", attempt: 2 });
    expect(story.changes.at(-1)?.change.told?.get("each.0")?.args).toEqual(["a"]);
    story.runAll();
    expect(story.step("each.1")).toMatchObject({ state: "SUCCEEDED", attempt: 1 });
    expect(story.job().state).toBe("SUCCEEDED");
  });

  it.each([
    ["is no list", "1 + 1", "must give a list"],
    ["cannot be evaluated", "1 + 'a'", "for_each.expression"],
  ])("whose expression %s fails", (_, expression, message) => {
    const story = tell({ steps: [{ name: "each", forEach: { expression } }] });
    story.begin();
    expect(story.step("each")).toMatchObject({ state: "FAILED", reason: "EXPRESSION_FAILED" });
    expect(story.step("each").message).toContain(message);
    expect(story.job().state).toBe("FAILED");
  });

  it("fails with the limit if the job had too many steps and items by it", () => {
    const items = Array.from({ length: 6_000 }, () => 0);
    const story = tell({
      steps: [
        { name: "one", forEach: { items } },
        { name: "other", forEach: { items } },
      ],
    });
    story.begin();
    expect(story.states()).toMatchObject({ one: "RUNNING", other: "FAILED EXPRESSION_FAILED" });
    expect(story.step("other").message).toContain("10000");
  });

  it("fails when the results of all are longer than a list may be", () => {
    const story = tell({ steps: [{ name: "each", forEach: { items: [1, 2, 3, 4, 5] } }] });
    story.begin();
    story.runAll(() => ({ result: "x".repeat(maxListBytes / 4) }));
    expect(story.step("each")).toMatchObject({ state: "FAILED", reason: "RESULT_INVALID" });
    expect(story.step("each").message).toContain(String(maxListBytes));
  });

  it("is CANCELLED with the items that do not run at once, and with the others when they have ended", () => {
    const story = tell({ steps: [{ name: "each", forEach: { items: [1, 2, 3], maxParallel: 2 } }] });
    story.begin();
    story.report({ step: "each.0", outcome: "STARTED" });
    story.cancel();
    expect(story.states()).toMatchObject({
      each: "RUNNING",
      "each.0": "RUNNING",
      "each.1": "READY QUEUED",
      "each.2": "CANCELLED CANCELLED_BY_USER",
    });
    expect(story.changes.at(-1)?.change).toMatchObject({ event: "cancelling", noun: "job" });
    story.report({ step: "each.0", outcome: "SUCCEEDED" }, { step: "each.1", outcome: "CANCELLED" });
    expect(story.states()).toMatchObject({ each: "CANCELLED CANCELLED_BY_USER" });
    expect(story.job()).toMatchObject({ state: "CANCELLED", reason: "CANCELLED_BY_USER", message: "enough" });
  });
});

it("what is too much to begin in one pass begins in those that follow at once, and all of it once", () => {
  const items = Array.from({ length: 2_000 }, (_, index) => index);
  const text = "x".repeat(20_000);
  const story = tell({
    input: { text },
    steps: [
      { name: "each", forEach: { items }, input: "${{ input.text }}" },
      ...Array.from({ length: 900 }, (_, index) => ({ name: `s${index}`, input: text })),
      { name: "last", dependsOn: ["each", "s899"], input: "${{ size(range(1000).map(x, x * 2)) }}" },
    ],
  });
  story.begin();
  let passes = 1;
  for (; story.job().steps.some(({ dueTime }) => dueTime !== null); passes += 1) {
    const facts = story.changes.length;
    story.wake(0);
    expect(story.changes.length).toBeGreaterThan(facts);
    expect(passes).toBeLessThan(20);
  }
  expect(passes).toBeGreaterThan(2);
  expect(story.ready).toHaveLength(2_900);
  expect(new Set(story.ready).size).toBe(2_900);
  expect(story.states()).toMatchObject({ each: "RUNNING", "each.1999": "READY QUEUED", s899: "READY QUEUED" });
});
