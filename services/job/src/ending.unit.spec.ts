import { describe, expect, it } from "vitest";
import { tell } from "./workflowStory.ts";

const failed = { outcome: "FAILED", reason: "EXIT_CODE", message: "exit code 1" } as const;
const second = { seconds: 1, nanos: 0 };

const trip = {
  steps: [
    { name: "flight", compensate: "cancel-flight" },
    { name: "hotel", dependsOn: ["flight"], compensate: "cancel-hotel" },
    { name: "car", dependsOn: ["hotel"], compensate: "cancel-car" },
    { name: "cancel-flight", input: "${{ steps.flight.result }}" },
    { name: "cancel-hotel" },
    { name: "cancel-car" },
    { name: "thank" },
    { name: "apologise", input: "${{ job.outcome + ': ' + job.message }}" },
    { name: "note" },
  ],
  onSuccess: ["thank"],
  onFailure: ["apologise"],
  onCancel: ["note"],
};

function fail() {
  const story = tell(trip);
  story.begin();
  story.report({ step: "flight", outcome: "SUCCEEDED", result: "F1" });
  story.report({ step: "hotel", outcome: "SUCCEEDED" });
  story.report({ step: "car", ...failed });
  return story;
}

describe("a job that fails", () => {
  it("undoes what was done, the last first and one after the other, then runs its hooks, then ends as it had to", () => {
    const story = fail();
    expect(story.job()).toMatchObject({ state: "RUNNING", reason: "COMPENSATING" });
    expect(story.states()).toMatchObject({
      "cancel-car": "SKIPPED NOT_NEEDED",
      "cancel-hotel": "READY QUEUED",
      "cancel-flight": "BLOCKED WAITING_DEPENDENCY",
      thank: "SKIPPED NOT_NEEDED",
      apologise: "BLOCKED WAITING_DEPENDENCY",
    });
    story.report({ step: "cancel-hotel", outcome: "SUCCEEDED" });
    expect(story.states()).toMatchObject({ "cancel-flight": "READY QUEUED", apologise: "BLOCKED WAITING_DEPENDENCY" });
    expect(story.changes.at(-1)?.change.told?.get("cancel-flight")?.input).toBe("F1");
    story.report({ step: "cancel-flight", outcome: "SUCCEEDED" });
    expect(story.job()).toMatchObject({ state: "RUNNING", reason: "RUNNING_HOOKS" });
    expect(story.changes.at(-1)?.change.told?.get("apologise")?.input).toBe("FAILED: step car: exit code 1");
    story.report({ step: "apologise", outcome: "SUCCEEDED" });
    expect(story.job()).toMatchObject({ state: "FAILED", reason: "EXIT_CODE", message: "step car: exit code 1" });
  });

  it("tries a compensation again by its own policy, and says which was not done in the end", () => {
    const steps = trip.steps.map((step) =>
      step.name === "cancel-hotel" ? { ...step, retry: { maxAttempts: 2, initialBackoff: second } } : step,
    );
    const story = tell({ ...trip, steps });
    story.begin();
    story.report({ step: "flight", outcome: "SUCCEEDED" });
    story.report({ step: "hotel", outcome: "SUCCEEDED" });
    story.report({ step: "car", ...failed });
    story.report({ step: "cancel-hotel", ...failed });
    expect(story.states()).toMatchObject({ "cancel-hotel": "BACKOFF EXIT_CODE" });
    story.wake(2_000);
    story.report({ step: "cancel-hotel", ...failed });
    expect(story.states()).toMatchObject({ "cancel-flight": "READY QUEUED" });
    story.report({ step: "cancel-flight", outcome: "SUCCEEDED" });
    story.report({ step: "apologise", ...failed });
    expect(story.job()).toMatchObject({
      state: "FAILED",
      reason: "EXIT_CODE",
      message: "step car: exit code 1; hotel was not undone, cancel-hotel: exit code 1; hook apologise: exit code 1",
    });
  });

  it("is not asked to end again while it undoes: its outcome is decided", () => {
    const story = fail();
    const before = story.changes.length;
    story.cancel();
    story.cancel("JOB_TIMEOUT");
    expect(story.changes).toHaveLength(before);
    expect(story.job().state).toBe("RUNNING");
  });

  it("without having begun anything still runs its hooks", () => {
    const story = tell({ steps: [{ name: "a", input: "${{ 1 + 'a' }}" }, { name: "h" }], onFailure: ["h"] });
    story.begin();
    expect(story.job()).toMatchObject({ state: "RUNNING", reason: "RUNNING_HOOKS" });
    expect(story.ready).toEqual(["h"]);
    story.runAll();
    expect(story.job()).toMatchObject({ state: "FAILED", reason: "EXPRESSION_FAILED" });
  });
});

describe("a job that succeeds", () => {
  it("runs its hook before it ends, and needs nothing else", () => {
    const story = tell(trip);
    story.begin();
    for (const step of ["flight", "hotel", "car"]) story.report({ step, outcome: "SUCCEEDED", result: step });
    expect(story.job()).toMatchObject({ state: "RUNNING", reason: "RUNNING_HOOKS" });
    expect(story.states()).toMatchObject({ "cancel-car": "SKIPPED NOT_NEEDED", apologise: "SKIPPED NOT_NEEDED" });
    story.report({ step: "thank", outcome: "SUCCEEDED", result: "not the job's" });
    expect(story.job()).toMatchObject({ state: "SUCCEEDED", result: "car", reason: "UNSPECIFIED" });
  });

  it("fails by a hook that fails, and undoes nothing", () => {
    const story = tell(trip);
    story.begin();
    for (const step of ["flight", "hotel", "car"]) story.report({ step, outcome: "SUCCEEDED" });
    story.report({ step: "thank", ...failed });
    expect(story.job()).toMatchObject({ state: "FAILED", reason: "EXIT_CODE", message: "hook thank: exit code 1" });
  });
});

describe("a cancel", () => {
  it("ends what waits, waits for what runs, undoes what was done, and runs its hook", () => {
    const story = tell(trip);
    story.begin();
    story.report({ step: "flight", outcome: "SUCCEEDED" });
    story.report({ step: "hotel", outcome: "STARTED" });
    story.cancel();
    expect(story.job()).toMatchObject({ state: "CANCELLING", reason: "CANCELLED_BY_USER", message: "enough" });
    expect(story.states()).toMatchObject({
      car: "CANCELLED CANCELLED_BY_USER",
      "cancel-flight": "BLOCKED WAITING_DEPENDENCY",
    });
    const { change } = story.changes.at(-1) ?? {};
    expect(change?.spared).toEqual(trip.steps.slice(3).map(({ name }) => name));
    story.report({ step: "hotel", outcome: "CANCELLED", reason: "CANCELLED_BY_USER" });
    expect(story.job()).toMatchObject({ state: "CANCELLING", reason: "COMPENSATING" });
    expect(story.states()).toMatchObject({ "cancel-flight": "READY QUEUED", "cancel-hotel": "SKIPPED NOT_NEEDED" });
    story.cancel();
    story.report({ step: "cancel-flight", outcome: "SUCCEEDED" });
    expect(story.states()).toMatchObject({ note: "READY QUEUED", apologise: "SKIPPED NOT_NEEDED" });
    story.report({ step: "note", outcome: "SUCCEEDED" });
    expect(story.job()).toMatchObject({ state: "CANCELLED", reason: "CANCELLED_BY_USER", message: "enough" });
  });

  it("that finds nothing to wait for tells of it before what undoes, which it does not mean", () => {
    const retry = { maxAttempts: 2, initialBackoff: second };
    const story = tell({
      ...trip,
      steps: trip.steps.map((step) => (step.name === "hotel" ? { ...step, retry } : step)),
    });
    story.begin();
    story.report({ step: "flight", outcome: "SUCCEEDED" });
    story.report({ step: "hotel", ...failed });
    const before = story.changes.length;
    story.cancel();
    const facts = story.changes.slice(before).map(({ change: { noun, event, moved } }) => ({
      fact: `${noun}.${event}`,
      ready: moved.filter(({ state }) => state === "READY").map(({ name }) => name),
    }));
    expect(facts[0]).toEqual({ fact: "job.cancelling", ready: [] });
    expect(facts.slice(1).flatMap(({ ready }) => ready)).toEqual(["cancel-flight"]);
    expect(facts.slice(1).every(({ fact }) => fact.startsWith("step."))).toBe(true);
  });

  it("of a job with nothing to undo and nothing that runs ends it at once", () => {
    const story = tell({ steps: [{ name: "a" }], notBefore: new Date("2026-01-02T00:00:00Z") });
    story.cancel();
    expect(story.changes.map(({ change }) => change.event)).toEqual(["cancelled"]);
    expect(story.job()).toMatchObject({ state: "CANCELLED", reason: "CANCELLED_BY_USER" });
  });

  it("by the deadline ends it TIMED_OUT after what undoes and its hook for failures", () => {
    const story = tell(trip);
    story.begin();
    story.report({ step: "flight", outcome: "SUCCEEDED" });
    story.report({ step: "hotel", outcome: "STARTED" });
    story.cancel("JOB_TIMEOUT");
    story.report({ step: "hotel", outcome: "CANCELLED" });
    story.runAll();
    expect(story.states()).toMatchObject({
      "cancel-flight": "SUCCEEDED",
      apologise: "SUCCEEDED",
      note: "SKIPPED NOT_NEEDED",
    });
    expect(story.job()).toMatchObject({ state: "TIMED_OUT", reason: "JOB_TIMEOUT" });
  });
});
