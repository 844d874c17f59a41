/**
 * A workflow whose life a spec file tells: moved by the rules alone, with a store that forgets results like the true one, and checks that
 * hold after every move.
 */
import {
  type Approval,
  type ForEach,
  JobSpec,
  type RetryPolicy,
  type SignalWait,
  type Sleep,
  StepSpec,
  type TemplateUse,
} from "@capstan/proto/capstan/job/v1/spec.ts";
import { decideApproval, type Said as SaidOfApproval } from "./approval.ts";
import { birthOf } from "./birth.ts";
import { endChildren } from "./childEnds.ts";
import { durationMs } from "./fieldChecks.ts";
import { type KeptSignal, openInbox } from "./inbox.ts";
import { type Change, isJobTerminal, isStepTerminal, type Job, type Step, unread } from "./job.ts";
import { completeSpec } from "./jobSpec.ts";
import type { Flow, Passed } from "./pass.ts";
import { pauseJob, resumeJob } from "./pause.ts";
import { compilePlan, type Plan } from "./plan.ts";
import type { Report } from "./report.ts";
import { createResults, type StoredResult } from "./results.ts";
import { deliverSignal } from "./signal.ts";
import type { ChildEnd, NewChild } from "./subJob.ts";
import type { CausedChange } from "./tell.ts";
import { begin, cancelWorkflow, reportAll, wakeWorkflow } from "./workflow.ts";

export type Said = Partial<Report> & Pick<Report, "step" | "outcome">;

export interface Story {
  readonly plan: Plan;
  /** Every change in order, the birth apart. */
  readonly changes: readonly CausedChange[];
  /** Names of steps in the order in which they were told READY, once for each attempt. */
  readonly ready: readonly string[];
  /** Results that had to be read, by name. */
  readonly read: readonly string[];
  job(): Job;
  step(name: string): Step;
  /** Where the steps stand, by name: the state, and the reason if there is one. */
  states(): Readonly<Record<string, string>>;
  begin(): void;
  report(...reports: readonly Said[]): readonly string[];
  cancel(reason?: string): void;
  wake(afterMs: number): void;
  decide(said: Partial<SaidOfApproval> & Pick<SaidOfApproval, "step">): void;
  /** True if a step has taken it at once. */
  signal(name: string, payload?: unknown): boolean;
  pause(): void;
  resume(): void;
  /** Jobs that steps have submitted, in order. */
  readonly children: readonly NewChild[];
  /** Ends the job that was submitted last for a step. */
  endChild(step: string, ended: Partial<NonNullable<ChildEnd["ended"]>> | null, refusal?: string): void;
  /** Has every step that is told READY succeed, until nothing is; `resultOf` says with what. */
  runAll(outcomeOf?: (step: string) => Partial<Report>): void;
}

export type StepLike = Partial<Omit<StepSpec, "forEach" | "retry" | "approval" | "signal" | "sleep" | "subJob">> & {
  readonly approval?: Partial<Approval>;
  readonly signal?: Partial<SignalWait>;
  readonly sleep?: Partial<Sleep>;
  readonly subJob?: { readonly template: Partial<TemplateUse> };
  readonly name: string;
  readonly forEach?: Partial<ForEach>;
  readonly retry?: Partial<RetryPolicy>;
};
export type SpecLike = Partial<Omit<JobSpec, "steps">> & { readonly steps: readonly StepLike[] };

function isWait({ approval, signal, sleep, subJob }: StepLike): boolean {
  return [approval, signal, sleep, subJob].some((wait) => wait !== undefined);
}

/** Steps without a program have a handler, so that only what matters need be said. */
export function tell(spec: SpecLike): Story {
  const steps = spec.steps.map((step) => StepSpec.fromPartial(isWait(step) ? step : { handler: "work", ...step }));
  const complete = completeSpec({ ...JobSpec.fromPartial({ name: "story", ...spec, steps: [] }), steps });
  const plan = compilePlan(complete);
  let now = new Date("2026-01-01T00:00:00Z");
  const timeoutMs = durationMs(complete.timeout);
  let job: Job = {
    ...birthOf(complete, plan, { tenant: "default", traceparent: null }, now),
    deadlineTime: timeoutMs === 0 ? null : new Date(now.getTime() + timeoutMs),
  };
  let items: Flow["items"] = new Map();
  let signals: readonly KeptSignal[] = [];
  let sent = 0;
  const children: NewChild[] = [];
  const store = new Map<string, unknown>();
  const changes: CausedChange[] = [];
  const ready: string[] = [];
  const read: string[] = [];

  function pass<T>(decide: (flow: Flow) => T, passedOf: (decided: T) => Passed | null): T {
    now = new Date(now.getTime() + 1);
    const results = createResults();
    for (;;) {
      const inbox = openInbox(signals);
      const flow: Flow = { plan, results, items: new Map(items), inbox };
      const decided = decide(flow);
      const wanted = results.takeWanted();
      if (wanted.length === 0) {
        items = flow.items;
        save(passedOf(decided));
        return decided;
      }
      for (const want of wanted) {
        read.push(...want.steps);
        results.add(want, new Map(want.steps.map((name) => [name, storedOf(store.get(name))])));
      }
    }
  }

  function save(passed: Passed | null): void {
    if (passed === null) return;
    const taken = new Set(passed.taken?.map(({ number }) => number));
    signals = signals.filter(({ number }) => !taken.has(number));
    children.push(...(passed.children ?? []));
    let { sequence } = job;
    for (const { change } of passed.changes) {
      sequence += 1;
      if (change.job.sequence !== sequence) throw new Error(`sequence ${change.job.sequence} after ${sequence - 1}`);
      if (isJobTerminal(job.state)) throw new Error("moved after its end");
      noteReady(change);
    }
    changes.push(...passed.changes);
    for (const [index, step] of passed.after.steps.entries()) {
      checkStep(job.steps[index], step);
      if (step.result !== undefined && step.result !== unread) store.set(step.name, step.result);
    }
    const steps = passed.after.steps.map((step) => (step.result === undefined ? step : { ...step, result: unread }));
    job = { ...passed.after, steps };
  }

  function noteReady({ event, moved, told }: Change): void {
    for (const { name, state } of moved) {
      if (state !== "READY") continue;
      if (event !== "cancelling") ready.push(name);
      if (!told?.has(name)) throw new Error(`${name} is READY and nobody is told what to run`);
    }
  }

  const story: Story = {
    plan,
    changes,
    ready,
    read,
    job: () => job,
    step(name) {
      const step = job.steps.find((candidate) => candidate.name === name);
      if (step === undefined) throw new Error(`there is no step ${name}`);
      return step.result === unread ? { ...step, result: store.get(name) } : step;
    },
    states: () =>
      Object.fromEntries(
        job.steps.map(({ name, state, reason }) => [name, reason === "UNSPECIFIED" ? state : `${state} ${reason}`]),
      ),
    begin: () =>
      void pass(
        (flow) => begin(job, flow, now),
        (passed) => passed,
      ),
    report(...reports) {
      const caused = reports.map((said) => ({
        said: { ...plain, attempt: story.step(said.step).attempt, ...said },
        causationId: "c",
      }));
      return pass(
        (flow) => reportAll(job, caused, flow, now, () => 0.5),
        ({ passed }) => passed,
      ).answers;
    },
    cancel: (reason = "CANCELLED_BY_USER") =>
      void pass(
        (flow) => cancelWorkflow(job, { reason, message: "enough" }, flow, now, "c"),
        (passed) => passed,
      ),
    wake(afterMs) {
      now = new Date(now.getTime() + afterMs);
      pass(
        (flow) => wakeWorkflow(job, flow, now),
        (passed) => passed,
      );
    },
    decide: (said) =>
      void pass(
        (flow) =>
          decideApproval(job, { decision: "APPROVE", note: "", fields: {}, by: "ada", ...said }, flow, now, "c"),
        (passed) => passed,
      ),
    signal(name, payload = null) {
      sent += 1;
      const number = String(sent);
      const before = signals;
      signals = [...signals, { number, name, payload }];
      try {
        pass(
          (flow) => deliverSignal(job, name, flow, now, "c"),
          (passed) => passed,
        );
      } catch (error) {
        signals = before;
        throw error;
      }
      return signals.every((signal) => signal.number !== number);
    },
    pause: () =>
      void pass(
        () => pauseJob(job, "lunch", now, "c"),
        (passed) => passed,
      ),
    resume: () =>
      void pass(
        (flow) => resumeJob(job, flow, now, "c"),
        (passed) => passed,
      ),
    children,
    endChild(step, ended, refusal) {
      const child = children.findLast((each) => each.step === step);
      if (child === undefined) throw new Error(`${step} has submitted no job`);
      const { childJobId, attempt } = child;
      const end = {
        state: "SUCCEEDED",
        reason: "UNSPECIFIED",
        message: "",
        result: undefined,
        startTime: null,
      } as const;
      const all = [{ childJobId, step, attempt, refusal: refusal ?? null, ended: ended && { ...end, ...ended } }];
      pass(
        (flow) => endChildren(job, all, flow, now, () => 0.5),
        (passed) => passed,
      );
    },
    runAll(outcomeOf = () => ({})) {
      for (let at = 0; at < 20_000; at += 1) {
        const next = job.steps.find(({ state }) => state === "READY");
        if (next === undefined) return;
        story.report({ step: next.name, outcome: "SUCCEEDED", ...outcomeOf(next.name) });
      }
      throw new Error("it does not end");
    },
  };
  return story;
}

function storedOf(result: unknown): StoredResult {
  return { result, bytes: result === undefined ? 0 : JSON.stringify(result).length };
}

function checkStep(before: Step | undefined, { name, state }: Step): void {
  if (before === undefined) return;
  if (before.name !== name) throw new Error(`${name} stands where ${before.name} was`);
  if (isStepTerminal(before.state) && before.state !== state)
    throw new Error(`${name} was ${before.state}, is ${state}`);
}

const plain = {
  executionId: "e",
  providerName: "local",
  reason: "UNSPECIFIED",
  message: "",
  exitCode: null,
  result: undefined,
  time: null,
  startTime: null,
};
