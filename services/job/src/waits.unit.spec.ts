import { describe, expect, it } from "vitest";
import { tell } from "./workflowStory.ts";

const minute = { seconds: 60, nanos: 0 };
const states = (story: ReturnType<typeof tell>) => story.states();

describe("an approval", () => {
  const spec = {
    input: { to: "production" },
    steps: [
      { name: "ask", approval: { message: "deploy to ${{ input.to }}?" } },
      { name: "deploy", dependsOn: ["ask"], input: "${{ steps.ask.result.fields.when }}" },
    ],
  };

  it("waits for a person with the message it was given, and the job runs meanwhile", () => {
    const story = tell(spec);
    story.begin();
    expect(story.step("ask")).toMatchObject({
      state: "SUSPENDED",
      reason: "APPROVAL",
      message: "deploy to production?",
    });
    expect(story.job().state).toBe("RUNNING");
    expect(story.changes.map(({ change: { noun, event } }) => `${noun}.${event}`)).toEqual(["job.started"]);
  });

  it("gives the decision as its result, which what follows can use", () => {
    const story = tell(spec);
    story.begin();
    story.decide({ step: "ask", note: "go", fields: { when: "now" }, by: "ada" });
    expect(story.step("ask")).toMatchObject({
      state: "SUCCEEDED",
      result: {
        decision: "APPROVE",
        note: "go",
        fields: { when: "now" },
        by: "ada",
        time: expect.stringMatching(/Z$/),
      },
    });
    expect(story.changes.at(-1)?.change.told?.get("deploy")?.input).toBe("now");
  });

  it("fails when it is rejected, with who and why", () => {
    const story = tell(spec);
    story.begin();
    story.decide({ step: "ask", decision: "REJECT", note: "not on a Friday", by: "bob" });
    expect(states(story)).toEqual({ ask: "FAILED REJECTED", deploy: "SKIPPED DEPENDENCY_FAILED" });
    expect(story.job()).toMatchObject({ state: "FAILED", message: "step ask: rejected by bob: not on a Friday" });
  });

  it("takes the same decision of the same person again, and refuses every other by telling who has decided what", () => {
    const story = tell(spec);
    story.begin();
    story.decide({ step: "ask", by: "ada" });
    const { sequence } = story.job();
    story.decide({ step: "ask", by: "ada", note: "again" });
    expect(story.job().sequence).toBe(sequence);
    expect(() => story.decide({ step: "ask", by: "bob" })).toThrow(/was approved by ada at 2026/);
    expect(() => story.decide({ step: "ask", by: "ada", decision: "REJECT" })).toThrow(/was approved by ada/);
    expect(() => story.decide({ step: "deploy" })).toThrow(/waits for no decision/);
    expect(() => story.decide({ step: "nobody" })).toThrow(/nobody/);
  });

  it("is refused before it is asked for", () => {
    const story = tell({ steps: [{ name: "build" }, { name: "ask", dependsOn: ["build"], approval: {} }] });
    story.begin();
    expect(() => story.decide({ step: "ask" })).toThrow(/is BLOCKED; it does not yet wait for a decision/);
  });

  it.each([
    ["TIMEOUT_OUTCOME_UNSPECIFIED", "TIMED_OUT WAIT_TIMEOUT", "TIMED_OUT"],
    ["TIMEOUT_OUTCOME_FAIL", "TIMED_OUT WAIT_TIMEOUT", "TIMED_OUT"],
    ["TIMEOUT_OUTCOME_SKIP", "SKIPPED WAIT_TIMEOUT", "SUCCEEDED"],
    ["TIMEOUT_OUTCOME_SUCCEED", "SUCCEEDED WAIT_TIMEOUT", "SUCCEEDED"],
  ] as const)("ends by its timeout with %s as %s", (onTimeout, state, jobState) => {
    const story = tell({ steps: [{ name: "ask", approval: { timeout: minute, onTimeout } }] });
    story.begin();
    story.wake(59_000);
    expect(states(story)).toEqual({ ask: "SUSPENDED APPROVAL" });
    story.wake(1_000);
    expect(states(story)).toEqual({ ask: state });
    expect(story.job().state).toBe(jobState);
    if (jobState === "SUCCEEDED" && state.startsWith("SUCC"))
      expect(story.step("ask").result).toMatchObject({ decision: "APPROVE", by: "" });
    expect(() => story.decide({ step: "ask" })).toThrow(/it does not wait for a decision/);
  });

  it("may be asked for once for each item", () => {
    const story = tell({
      steps: [{ name: "ask", approval: { message: "${{ item }}?" }, forEach: { items: ["a", "b"] } }],
    });
    story.begin();
    expect(story.step("ask.1")).toMatchObject({ state: "SUSPENDED", message: "b?" });
    story.decide({ step: "ask.1", by: "ada" });
    story.decide({ step: "ask.0", by: "bob" });
    expect(story.job()).toMatchObject({ state: "SUCCEEDED", result: [{ by: "bob" }, { by: "ada" }] });
  });

  it("ends with the cancel of its job", () => {
    const story = tell(spec);
    story.begin();
    story.cancel();
    expect(states(story)).toEqual({ ask: "CANCELLED CANCELLED_BY_USER", deploy: "CANCELLED CANCELLED_BY_USER" });
  });
});

describe("a signal", () => {
  const spec = {
    input: { order: "42" },
    steps: [
      { name: "build" },
      { name: "paid", dependsOn: ["build"], signal: { name: "paid-${{ input.order }}" } },
      { name: "sent", dependsOn: ["paid"], signal: { name: "sent", timeout: minute } },
    ],
  };

  it("is taken by the step that waits for it, with its payload as the result", () => {
    const story = tell({ steps: [{ name: "go", signal: { name: "go" } }] });
    story.begin();
    expect(story.step("go")).toMatchObject({ state: "SUSPENDED", reason: "AWAITING_SIGNAL", message: "go" });
    expect(story.signal("go", { speed: 3 })).toBe(true);
    expect(story.job()).toMatchObject({ state: "SUCCEEDED", result: { speed: 3 } });
  });

  it("is kept for the step that will wait for it, and taken in order", () => {
    const story = tell({
      steps: [
        { name: "build" },
        { name: "each", dependsOn: ["build"], signal: { name: "go" }, forEach: { items: [1, 2, 3] } },
      ],
    });
    story.begin();
    expect(story.signal("go", "first")).toBe(false);
    expect(story.signal("go", "second")).toBe(false);
    story.runAll();
    expect(states(story)).toMatchObject({
      "each.0": "SUCCEEDED",
      "each.1": "SUCCEEDED",
      "each.2": "SUSPENDED AWAITING_SIGNAL",
    });
    expect(story.signal("go", "third")).toBe(true);
    expect(story.job().result).toEqual(["first", "second", "third"]);
  });

  it("may have a name that its step makes of the input", () => {
    const story = tell(spec);
    story.begin();
    expect(story.signal("paid-42", "early")).toBe(false);
    story.runAll();
    expect(story.step("paid")).toMatchObject({ state: "SUCCEEDED", result: "early" });
    expect(() => story.signal("paid-42")).toThrow(/it waits, or has waited, for: paid-.*, sent/);
  });

  it("is refused by a job none of whose steps can ever wait for it", () => {
    const story = tell({ steps: [{ name: "a" }, { name: "go", dependsOn: ["a"], signal: { name: "go" } }] });
    story.begin();
    expect(() => story.signal("stop")).toThrow(/never waits for signal stop; it waits, or has waited, for: go/);
    const other = tell({ steps: [{ name: "a" }, { name: "b" }] });
    other.begin();
    expect(() => other.signal("stop")).toThrow(/has no step that waits for a signal/);
    story.cancel();
    story.report({ step: "a", outcome: "CANCELLED" });
    expect(() => story.signal("go")).toThrow(/is CANCELLED; it takes no more signals/);
  });

  it("is refused when as many are kept as may be", () => {
    const story = tell({ steps: [{ name: "a" }, { name: "go", dependsOn: ["a"], signal: { name: "go" } }] });
    story.begin();
    for (let count = 0; count < 100; count += 1) story.signal("go", count);
    expect(() => story.signal("go")).toThrow(/keeps 100 signals that no step has taken yet; that is the limit/);
  });

  it("that does not come in time ends its step", () => {
    const story = tell({ steps: [{ name: "go", signal: { name: "go", timeout: minute } }] });
    story.begin();
    story.wake(60_000);
    expect(story.step("go")).toMatchObject({ state: "TIMED_OUT", message: "no signal has come in 60 s" });
  });
});

describe("a sleep", () => {
  it("is over at its time", () => {
    const story = tell({
      steps: [
        { name: "nap", sleep: { duration: minute } },
        { name: "go", dependsOn: ["nap"] },
      ],
    });
    story.begin();
    expect(states(story)).toEqual({ nap: "SUSPENDED SLEEPING", go: "BLOCKED WAITING_DEPENDENCY" });
    story.wake(60_000);
    expect(states(story)).toEqual({ nap: "SUCCEEDED", go: "READY QUEUED" });
  });

  it("until a time that has passed does not wait, also when an expression says so", () => {
    const story = tell({
      input: "2025-12-24T00:00:00Z",
      steps: [
        { name: "a", sleep: { until: new Date("2025-01-01T00:00:00Z") } },
        { name: "b", sleep: { expression: "input" } },
      ],
    });
    story.begin();
    expect(story.job().state).toBe("SUCCEEDED");
  });

  it("fails over an expression that gives no time", () => {
    const story = tell({ input: 7, steps: [{ name: "nap", sleep: { expression: "input" } }] });
    story.begin();
    expect(states(story)).toEqual({ nap: "FAILED EXPRESSION_FAILED" });
  });
});

describe("a sub-job", () => {
  const template = { name: "deploy", parameters: { region: "${{ input.region }}" } };
  const spec = {
    input: { region: "eu" },
    steps: [
      { name: "child", subJob: { template } },
      { name: "after", dependsOn: ["child"] },
    ],
  };

  it("is submitted with its parameters filled in, and its end is that of the step", () => {
    const story = tell(spec);
    story.begin();
    expect(story.step("child")).toMatchObject({ state: "RUNNING", reason: "SUB_JOB" });
    expect(story.children).toMatchObject([{ step: "child", attempt: 1, template: { parameters: { region: "eu" } } }]);
    expect(story.step("child").childJobId).toBe(story.children[0]?.childJobId);
    story.endChild("child", { result: { done: true } });
    expect(story.step("child")).toMatchObject({ state: "SUCCEEDED", result: { done: true } });
    expect(states(story)).toMatchObject({ after: "READY QUEUED" });
  });

  it("fails its step with what became of it, and a retry submits another", () => {
    const story = tell({
      steps: [{ name: "child", subJob: { template }, retry: { maxAttempts: 2 } }],
      input: { region: 1 },
    });
    story.begin();
    story.endChild("child", { state: "FAILED", reason: "EXIT_CODE", message: "exit code 1" });
    expect(states(story)).toEqual({ child: "BACKOFF SUB_JOB_FAILED" });
    story.wake(600_000);
    expect(story.children.map(({ attempt }) => attempt)).toEqual([1, 2]);
    expect(new Set(story.children.map(({ childJobId }) => childJobId)).size).toBe(2);
    story.endChild("child", { state: "TIMED_OUT", reason: "JOB_TIMEOUT" });
    const id = story.children[1]?.childJobId;
    expect(story.job()).toMatchObject({ state: "FAILED", message: `job ${id} is TIMED_OUT; JOB_TIMEOUT` });
  });

  it("that cannot be submitted fails its step for good", () => {
    const story = tell({
      steps: [{ name: "child", subJob: { template }, retry: { maxAttempts: 5 } }],
      input: { region: 1 },
    });
    story.begin();
    story.endChild("child", null, "there is no template deploy");
    expect(story.step("child")).toMatchObject({ state: "FAILED", reason: "SUB_JOB_FAILED" });
    expect(story.job().message).toBe("there is no template deploy");
  });

  it("is waited for by a job that is being cancelled, and ends with it", () => {
    const story = tell(spec);
    story.begin();
    story.cancel();
    expect(story.job().state).toBe("CANCELLING");
    story.endChild("child", { state: "CANCELLED", reason: "PARENT_ENDED" });
    expect(states(story)).toMatchObject({ child: "CANCELLED PARENT_ENDED" });
    expect(story.job().state).toBe("CANCELLED");
  });
});

describe("the deadline of a job", () => {
  const template = { name: "deploy" };

  it("is that of its sub-jobs, and not of those that run after it has timed out", () => {
    const story = tell({
      steps: [
        { name: "a" },
        { name: "child", dependsOn: ["a"], subJob: { template } },
        { name: "bye", subJob: { template } },
      ],
      timeout: minute,
      onFailure: ["bye"],
    });
    story.begin();
    story.report({ step: "a", outcome: "SUCCEEDED" });
    expect(story.children[0]).toMatchObject({ step: "child", deadlineTime: story.job().deadlineTime });
    story.cancel("JOB_TIMEOUT");
    story.endChild("child", { state: "CANCELLED", reason: "PARENT_ENDED" });
    expect(story.children[1]).toMatchObject({ step: "bye", deadlineTime: null });
    story.endChild("bye", { state: "SUCCEEDED" });
    expect(story.job()).toMatchObject({ state: "TIMED_OUT", message: "enough" });
  });
});
