import { describe, expect, it } from "vitest";
import { tell } from "./workflowStory.ts";

const minute = { seconds: 60, nanos: 0 };
const states = (story: ReturnType<typeof tell>) => story.states();

describe("a paused job", () => {
  const chain = { steps: [{ name: "a" }, { name: "b", dependsOn: ["a"] }] };

  it("begins nothing until it is resumed; what runs goes on", () => {
    const story = tell(chain);
    story.begin();
    story.report({ step: "a", outcome: "STARTED" });
    story.pause();
    expect(story.job()).toMatchObject({ state: "RUNNING", reason: "JOB_PAUSED", message: "lunch" });
    story.report({ step: "a", outcome: "SUCCEEDED" });
    expect(states(story)).toEqual({ a: "SUCCEEDED", b: "BLOCKED WAITING_DEPENDENCY" });
    expect(story.job().reason).toBe("JOB_PAUSED");
    story.resume();
    expect(states(story)).toMatchObject({ b: "READY QUEUED" });
    expect(story.job()).toMatchObject({ reason: "UNSPECIFIED", pauseTime: null });
    expect(story.changes.map(({ change: { noun, event } }) => `${noun}.${event}`)).toEqual([
      "step.ready",
      "job.started",
      "job.paused",
      "step.succeeded",
      "job.resumed",
      "step.ready",
    ]);
  });

  it("says of its READY steps why they wait, and can be paused and resumed twice", () => {
    const story = tell(chain);
    story.begin();
    story.pause();
    story.pause();
    expect(states(story)).toMatchObject({ a: "READY JOB_PAUSED" });
    story.resume();
    story.resume();
    expect(states(story)).toMatchObject({ a: "READY QUEUED" });
    expect(story.job()).toMatchObject({ state: "PENDING", reason: "QUEUED" });
  });

  it("lets what comes due wait until it goes on", () => {
    const story = tell({
      steps: [
        { name: "nap", sleep: { duration: minute } },
        { name: "b", retry: { maxAttempts: 2 } },
      ],
    });
    story.begin();
    story.report({ step: "b", outcome: "FAILED" });
    story.pause();
    story.wake(600_000);
    expect(states(story)).toMatchObject({ nap: "SUSPENDED SLEEPING", b: "BACKOFF" });
    story.resume();
    story.wake(0);
    expect(states(story)).toMatchObject({ nap: "SUCCEEDED", b: "READY QUEUED" });
  });

  it("holds back further items, and begins them when it goes on", () => {
    const story = tell({ steps: [{ name: "each", forEach: { items: [1, 2], maxParallel: 1 } }] });
    story.begin();
    story.pause();
    story.report({ step: "each.0", outcome: "SUCCEEDED" });
    expect(states(story)).toMatchObject({ "each.1": "BLOCKED MAX_PARALLEL" });
    story.resume();
    story.runAll();
    expect(story.job().state).toBe("SUCCEEDED");
  });

  it("begins no hook and undoes nothing until it goes on", () => {
    const story = tell({ steps: [{ name: "a" }, { name: "bye" }], onSuccess: ["bye"] });
    story.begin();
    story.pause();
    story.report({ step: "a", outcome: "SUCCEEDED" });
    expect(states(story)).toMatchObject({ bye: "BLOCKED WAITING_DEPENDENCY" });
    story.resume();
    story.runAll();
    expect(story.job().state).toBe("SUCCEEDED");
  });

  it("says that it is paused while it ends, and what it goes on with", () => {
    const story = tell({
      steps: [{ name: "a", compensate: "undo" }, { name: "b", dependsOn: ["a"] }, { name: "undo" }],
    });
    story.begin();
    story.report({ step: "a", outcome: "SUCCEEDED" });
    story.pause();
    story.report({ step: "b", outcome: "FAILED" });
    expect(story.job().reason).toBe("JOB_PAUSED");
    story.resume();
    const undoing = { state: "RUNNING", reason: "COMPENSATING", message: "undo undoes a" };
    expect(story.job()).toMatchObject(undoing);
    story.pause();
    expect(story.job()).toMatchObject({ reason: "JOB_PAUSED", message: "lunch" });
    story.resume();
    expect(story.job()).toMatchObject(undoing);
  });

  it("ends when its last step does, and is cancelled like any other", () => {
    const story = tell({ steps: [{ name: "a" }, { name: "b" }] });
    story.begin();
    story.pause();
    story.report({ step: "a", outcome: "SUCCEEDED" }, { step: "b", outcome: "SUCCEEDED" });
    expect(story.job()).toMatchObject({ state: "SUCCEEDED", reason: "UNSPECIFIED", pauseTime: null });
    expect(() => story.pause()).toThrow(/is SUCCEEDED; it cannot be paused/);
    const other = tell({
      steps: [{ name: "a", compensate: "undo" }, { name: "b", dependsOn: ["a"] }, { name: "undo" }],
    });
    other.begin();
    other.report({ step: "a", outcome: "SUCCEEDED" });
    other.pause();
    other.cancel();
    expect(other.job()).toMatchObject({ state: "CANCELLING", pauseTime: null });
    expect(() => other.resume()).toThrow(/is CANCELLING; it cannot be resumed/);
    other.report({ step: "b", outcome: "CANCELLED" });
    expect(states(other)).toMatchObject({ undo: "READY QUEUED" });
  });
});
