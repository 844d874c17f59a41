import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  assertRetriable,
  cancel,
  isJobTerminal,
  isStepTerminal,
  type Job,
  type JobEventType,
  type JobState,
  jobAllowedFrom,
  moveJob,
  moveStep,
  type Step,
  type StepEventType,
  type StepState,
  stepAllowedFrom,
  wake,
} from "./job.ts";
import { type Report, report } from "./report.ts";
import { noRetry } from "./retry.ts";

const jobStates: readonly JobState[] = [
  "PENDING",
  "RUNNING",
  "CANCELLING",
  "SUCCEEDED",
  "FAILED",
  "CANCELLED",
  "TIMED_OUT",
];
const stepStates: readonly StepState[] = [
  ...(["BLOCKED", "READY", "RUNNING", "BACKOFF", "SUSPENDED"] as const),
  ...(["SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "SKIPPED"] as const),
];
const now = new Date("2026-01-01T00:00:00Z");
const cause = { reason: "CANCELLED_BY_USER", message: "enough" };

function aStep(fields: Partial<Step> = {}): Step {
  return {
    name: "main",
    parent: null,
    itemIndex: null,
    state: "READY",
    reason: "QUEUED",
    message: "",
    attempt: 1,
    executionId: null,
    providerName: "",
    childJobId: null,
    dueTime: null,
    exitCode: null,
    result: undefined,
    startTime: null,
    endTime: null,
    retry: noRetry,
    ...fields,
  };
}

function aJob(fields: Partial<Job> = {}): Job {
  return {
    id: "0190-job",
    tenant: "default",
    name: "a job",
    priority: 0,
    queue: "default",
    concurrencyKey: "",
    deadlineTime: null,
    isWorkflow: false,
    ending: null,
    pauseTime: null,
    parent: null,
    depth: 0,
    state: "PENDING",
    reason: "QUEUED",
    message: "",
    sequence: 1,
    traceparent: null,
    scheduleId: null,
    steps: [aStep()],
    result: undefined,
    ...fields,
  };
}

function said(outcome: Report["outcome"], fields: Partial<Report> = {}): Report {
  return {
    step: "main",
    attempt: 1,
    outcome,
    executionId: "e1",
    providerName: "local",
    reason: outcome === "FAILED" ? "EXIT_CODE" : "UNSPECIFIED",
    message: "",
    exitCode: null,
    result: undefined,
    time: null,
    startTime: null,
    ...fields,
  };
}

function applied(job: Job, what: Report, random = 0.5) {
  const answer = report(job, what, now, random);
  if (answer.outcome !== "APPLIED" || answer.change === null)
    throw new Error(`expected a change, got ${answer.outcome}`);
  return answer.change;
}

describe("the table of a job's moves", () => {
  const cases = (Object.keys(jobAllowedFrom) as JobEventType[]).flatMap((event) =>
    jobStates.map((state) => ({
      event,
      state,
      isAllowed: (jobAllowedFrom[event] as readonly string[]).includes(state),
    })),
  );
  it.each(cases)("$event from $state is allowed: $isAllowed", ({ event, state, isAllowed }) => {
    const move = () => moveJob(aJob({ state }), event, cause);
    if (!isAllowed) return expect(move).toThrow(/cannot happen/);
    expect(move().job.sequence).toBe(2);
    return expect(move().job.state).not.toBe(state);
  });
  it("lets nothing leave a final state", () => {
    const leaving = Object.values(jobAllowedFrom).flat().filter(isJobTerminal);
    expect(leaving).toEqual([]);
  });
});

describe("the table of a step's moves", () => {
  const cases = (Object.keys(stepAllowedFrom) as StepEventType[]).flatMap((event) =>
    stepStates.map((state) => ({
      event,
      state,
      isAllowed: (stepAllowedFrom[event] as readonly string[]).includes(state),
    })),
  );
  it.each(cases)("$event from $state is allowed: $isAllowed", ({ event, state, isAllowed }) => {
    const move = () => moveStep(aStep({ state }), event, {});
    if (isAllowed) expect(move().state).not.toBe(state);
    else expect(move).toThrow(/cannot happen/);
  });
  it("lets nothing leave a final state", () => {
    expect(Object.values(stepAllowedFrom).flat().filter(isStepTerminal)).toEqual([]);
  });
});

describe("a report", () => {
  it("of a start makes the step and the job RUNNING in one change", () => {
    const change = applied(aJob(), said("STARTED"));
    expect(change).toMatchObject({ noun: "job", event: "started", job: { state: "RUNNING", sequence: 2 } });
    expect(change.moved).toMatchObject([{ state: "RUNNING", executionId: "e1", providerName: "local" }]);
  });

  it("of success ends the job with the result of its last step", () => {
    const change = applied(aJob(), said("SUCCEEDED", { exitCode: 0, result: { width: 100 } }));
    expect(change).toMatchObject({
      noun: "job",
      event: "succeeded",
      job: { state: "SUCCEEDED", result: { width: 100 } },
    });
  });

  it("of a failure with attempts left waits for the next attempt and leaves the job as it is", () => {
    const retry = { ...noRetry, maxAttempts: 3, initialBackoffMs: 2_000 };
    const job = aJob({ state: "RUNNING", steps: [aStep({ state: "RUNNING", retry })] });
    const change = applied(job, said("FAILED", { exitCode: 1 }));
    expect(change).toMatchObject({ noun: "step", event: "backed_off", job: { state: "RUNNING", sequence: 2 } });
    expect(change.moved[0]?.dueTime).toEqual(new Date(now.getTime() + 2_000));
  });

  it("of the last failure ends the job with the step's reason", () => {
    const change = applied(aJob(), said("FAILED", { exitCode: 3, message: "exit code 3" }));
    expect(change.job).toMatchObject({ state: "FAILED", reason: "EXIT_CODE", message: "exit code 3" });
  });

  it("with an exit code that is not worth repeating ends the job at once", () => {
    const retry = { ...noRetry, maxAttempts: 3, fatalExitCodes: [64] };
    const job = aJob({ steps: [aStep({ retry })] });
    expect(applied(job, said("FAILED", { exitCode: 64 })).job.state).toBe("FAILED");
    expect(applied(job, said("FAILED", { exitCode: 65 })).event).toBe("backed_off");
  });

  it("of a lost attempt is repeated like a failure, and without attempts left fails the job", () => {
    expect(applied(aJob(), said("LOST", { reason: "LOST" })).job).toMatchObject({ state: "FAILED", reason: "LOST" });
  });

  it("about another attempt is stale", () => {
    const job = aJob({ steps: [aStep({ attempt: 2 })] });
    expect(report(job, said("SUCCEEDED"), now, 0)).toEqual({ outcome: "STALE" });
  });

  it("about a step the job does not have is unknown", () => {
    expect(report(aJob(), said("STARTED", { step: "other" }), now, 0)).toEqual({ outcome: "UNKNOWN" });
  });

  it("that comes again changes nothing", () => {
    const once = applied(aJob(), said("SUCCEEDED")).job;
    expect(report(once, said("SUCCEEDED"), now, 0)).toEqual({ outcome: "REPEATED" });
    expect(report(once, said("FAILED"), now, 0)).toEqual({ outcome: "STALE" });
  });

  it("of a waiting reason changes the step and is no fact", () => {
    const answer = report(aJob(), said("WAITING", { reason: "NO_CAPACITY", message: "local is full" }), now, 0);
    expect(answer).toMatchObject({
      outcome: "APPLIED",
      change: null,
      job: { sequence: 1 },
      step: { reason: "NO_CAPACITY" },
    });
  });

  it("of a failure while the job is being cancelled is not repeated, and the job ends CANCELLED", () => {
    const retry = { ...noRetry, maxAttempts: 3 };
    const job = aJob({ state: "CANCELLING", ...cause, steps: [aStep({ state: "RUNNING", retry })] });
    expect(applied(job, said("FAILED", { exitCode: 1 })).job).toMatchObject({ state: "CANCELLED", ...cause });
  });

  it("of the end of a job that ran into its timeout ends it TIMED_OUT", () => {
    const job = aJob({ state: "CANCELLING", reason: "JOB_TIMEOUT", steps: [aStep({ state: "RUNNING" })] });
    expect(applied(job, said("TIMED_OUT", { reason: "JOB_TIMEOUT" })).job.state).toBe("TIMED_OUT");
  });
});

describe("a cancel", () => {
  it("of a job that waits for placement waits for the orchestrator", () => {
    expect(cancel(aJob(), cause)).toMatchObject({ event: "cancelling", job: { state: "CANCELLING", ...cause } });
  });
  it("names the steps that wait for placement, and not those that run", () => {
    expect(cancel(aJob(), cause)?.moved).toMatchObject([{ state: "READY" }]);
    expect(cancel(aJob({ state: "RUNNING", steps: [aStep({ state: "RUNNING" })] }), cause)?.moved).toEqual([]);
  });
  it("of a job that waits for its next attempt ends it at once", () => {
    const job = aJob({ state: "RUNNING", steps: [aStep({ state: "BACKOFF", dueTime: now })] });
    expect(cancel(job, cause)).toMatchObject({ event: "cancelled", job: { state: "CANCELLED" } });
  });
  it.each(["CANCELLING", "CANCELLED"] as const)("of a %s job changes nothing", (state) => {
    expect(cancel(aJob({ state }), cause)).toBeNull();
  });
  it.each(["SUCCEEDED", "FAILED", "TIMED_OUT"] as const)("of a %s job is refused", (state) => {
    expect(() => cancel(aJob({ state }), cause)).toThrow(/only a job that has not ended/);
  });
});

describe("waking", () => {
  it("makes a step whose backoff is over READY with the next attempt", () => {
    const job = aJob({ state: "RUNNING", steps: [aStep({ state: "BACKOFF", dueTime: now, executionId: "e1" })] });
    const change = wake(job, now);
    expect(change).toMatchObject({
      noun: "step",
      event: "ready",
      moved: [{ state: "READY", attempt: 2, executionId: null }],
    });
  });
  it("makes a step whose start time has come READY with its first attempt", () => {
    const job = aJob({ steps: [aStep({ state: "BLOCKED", reason: "NOT_BEFORE", dueTime: now })] });
    expect(wake(job, now)?.moved).toMatchObject([{ state: "READY", attempt: 1 }]);
  });
  it("leaves alone what is not due", () => {
    const job = aJob({ steps: [aStep({ state: "BLOCKED", dueTime: new Date(now.getTime() + 1) })] });
    expect(wake(job, now)).toBeNull();
  });
});

it.each(["PENDING", "RUNNING", "CANCELLING", "SUCCEEDED"] as const)("a %s job cannot be retried", (state) => {
  expect(() => assertRetriable({ id: "j", state })).toThrow(/cannot|only a job that has ended without success/);
});

it("any story of reports, cancels and wakes keeps the rules: final is final, the sequence counts the facts, one terminal fact", () => {
  const outcomes = ["WAITING", "STARTED", "SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "LOST", "SKIPPED"] as const;
  const action = fc.oneof(
    fc.record({
      type: fc.constant("report" as const),
      outcome: fc.constantFrom(...outcomes),
      attempt: fc.integer({ min: 1, max: 3 }),
    }),
    fc.record({ type: fc.constantFrom("cancel" as const, "deadline" as const, "wake" as const) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 30 }), fc.integer({ min: 1, max: 3 }), (actions, maxAttempts) => {
      let job = aJob({ steps: [aStep({ retry: { ...noRetry, maxAttempts } })] });
      let facts = 1;
      let terminalFacts = 0;
      for (const each of actions) {
        const change = decide(job, each);
        if (change === null) continue;
        expect(isJobTerminal(job.state)).toBe(false);
        job = change.job;
        facts += 1;
        terminalFacts += change.noun === "job" && isJobTerminal(job.state) ? 1 : 0;
        expect(job.sequence).toBe(facts);
        expect(job.steps[0]?.attempt).toBeLessThanOrEqual(maxAttempts);
      }
      expect(terminalFacts).toBe(isJobTerminal(job.state) ? 1 : 0);
    }),
    { numRuns: 2_000 },
  );

  function decide(job: Job, each: { type: string; outcome?: Report["outcome"]; attempt?: number }) {
    if (each.type === "report" && each.outcome !== undefined) {
      const answer = report(job, said(each.outcome, { attempt: each.attempt ?? 1 }), now, 0.5);
      return answer.outcome === "APPLIED" ? answer.change : null;
    }
    if (each.type === "wake") return wake(job, new Date(now.getTime() + 1e9));
    if (isJobTerminal(job.state)) return null;
    return cancel(job, each.type === "deadline" ? { reason: "JOB_TIMEOUT", message: "" } : cause);
  }
});
