/**
 * One pass over a workflow: the job as it is at this moment of deciding, and the moves made so far. A pass lives as long as one decision
 * and is seen by nobody else; what goes in and what comes out does not change.
 */
import type { Inbox, TakenSignal } from "./inbox.ts";
import {
  type Ending,
  isStepTerminal,
  type Job,
  moveStep,
  type Reason,
  type Step,
  type StepEventType,
  type StepMove,
} from "./job.ts";
import type { Plan, PlannedStep, Told } from "./plan.ts";
import type { Scope } from "./renderStep.ts";
import type { Results } from "./results.ts";
import type { NewChild } from "./subJob.ts";
import { type AfterPass, type CausedChange, openTelling } from "./tell.ts";

/** What a workflow is moved by, beside what happened to it. */
export interface Flow {
  readonly plan: Plan;
  readonly results: Results;
  /** The items of steps that were reached, by name: they come out the same each time, and may be costly to come by. */
  readonly items: Map<string, readonly unknown[]>;
  readonly inbox: Inbox;
}

export interface Cause {
  readonly reason: Reason;
  readonly message: string;
}

/** What a pass has come to: the changes in order, and the job after the last; null if nothing changed. */
export interface Passed {
  readonly changes: readonly CausedChange[];
  readonly after: Job;
  /** Signals that steps have taken. */
  readonly taken?: readonly TakenSignal[];
  /** Jobs that steps submit. */
  readonly children?: readonly NewChild[];
}

export interface Pass {
  readonly before: Job;
  readonly flow: Flow;
  readonly now: Date;
  /** The job's own state as far as this pass has come. */
  ending: Ending | null;
  cause: Cause;
  end: AfterPass["end"];
  result: unknown;
  cancelled: Cause | null;
  /** Since when nothing begins; null if it does. */
  pauseTime: Date | null;
  /** The id of the command or fact that the next moves follow from. */
  causationId: string;
  step(name: string): Step;
  find(name: string): Step | undefined;
  plannedOf(step: Step): PlannedStep;
  itemsOf(parent: string): readonly Step[];
  /** The steps and items that are SUSPENDED for this reason. */
  waiting(reason: Reason): Step[];
  /** Has a job submitted for a step. */
  submit(child: NewChild): void;
  /** Nothing may begin. */
  isPaused(): boolean;
  /** How many steps and items there are. */
  size(): number;
  move(step: Step, event: StepEventType, fields: Partial<Omit<Step, "name" | "state">>, told?: Told): Step;
  /** A move that was decided already. */
  take(move: StepMove, told?: Told): void;
  /** A step that only waits for another reason, or one that is new: no move, and no fact. */
  put(step: Step): void;
  /** What moves from now on follows from what has moved. */
  followUp(): void;
  tellCancelling(waiting: readonly (readonly [Step, Told])[]): void;
  /** What has ended since this was called last. */
  takeEnded(): readonly string[];
  hasEnded(): boolean;
  isCancelling(): boolean;
  /** Counts what the pass has to do, in units of work of expressions. */
  spend(units: number): void;
  /** No more should be begun in this pass: what is left is put off to the next, which comes at once. */
  isSpent(): boolean;
  scope(): Scope;
  close(): Passed | null;
}

/** A pass holds the job's lock, and its facts in memory: this is about a quarter of a second, or 20 MB. */
export const maxWorkOfPass = 5_000_000;

export function openPass(before: Job, flow: Flow, now: Date): Pass {
  const { plan, results } = flow;
  const steps = new Map(before.steps.map((step) => [step.name, step]));
  const items = Map.groupBy(
    before.steps.filter(({ parent }) => parent !== null),
    ({ parent }) => parent ?? "",
  );
  const telling = openTelling();
  const children: NewChild[] = [];
  let ended: string[] = [];
  let hasBegun = false;
  let hasChanged = false;
  let scope: Scope | null = null;
  let left = maxWorkOfPass;

  const pass: Pass = {
    before,
    flow,
    now,
    ending: before.ending,
    cause: { reason: before.reason, message: before.message },
    end: null,
    result: undefined,
    cancelled: null,
    pauseTime: before.pauseTime,
    causationId: "",
    find: (name) => steps.get(name),
    step(name) {
      const step = steps.get(name);
      if (step === undefined) throw new Error(`job ${before.id} has no step ${name}`);
      return step;
    },
    plannedOf({ name, parent }) {
      const planned = plan.steps.get(parent ?? name);
      if (planned === undefined) throw new Error(`the spec of job ${before.id} has no step ${parent ?? name}`);
      return planned;
    },
    itemsOf: (parent) => (items.get(parent) ?? []).map(({ name }) => pass.step(name)),
    waiting: (reason) => [...steps.values()].filter((step) => step.state === "SUSPENDED" && step.reason === reason),
    submit: (child) => void children.push(child),
    isPaused: () => pass.pauseTime !== null && pass.cancelled === null,
    size: () => steps.size,
    move(step, event, fields, told) {
      pass.take([event, moveStep(step, event, fields)], told);
      return pass.step(step.name);
    },
    take([event, moved]: StepMove, told?: Told) {
      const step = isStepTerminal(moved.state) ? { ...moved, endTime: now } : moved;
      pass.put(step);
      telling.add(event, step, told ?? null, pass.causationId);
      if (isStepTerminal(step.state)) ended.push(step.name);
      hasBegun ||= beginsJob(step);
    },
    put(step) {
      if (step.parent !== null && !steps.has(step.name)) {
        const siblings = items.get(step.parent);
        if (siblings === undefined) items.set(step.parent, [step]);
        else siblings.push(step);
      }
      steps.set(step.name, step);
      hasChanged = true;
    },
    followUp: telling.followUp,
    tellCancelling(waiting) {
      telling.addCancelling(waiting, plan.late, pass.causationId);
      hasChanged = true;
    },
    takeEnded() {
      const taken = ended;
      ended = [];
      return taken;
    },
    hasEnded: () => ended.length > 0,
    isCancelling: () => before.state === "CANCELLING" || pass.cancelled !== null,
    spend(units) {
      left -= units;
    },
    isSpent: () => left < 0 || results.isFull(),
    scope() {
      scope ??= openScope();
      return scope;
    },
    close() {
      if (!hasChanged) return null;
      const after: AfterPass = {
        steps: [...steps.values()],
        ending: pass.ending,
        ...causeAfter(),
        result: pass.result,
        hasBegun: hasBegun || pass.ending !== null,
        cancelled: pass.cancelled,
        end: pass.end,
      };
      const changes = telling.changes(before, after);
      const last = changes.at(-1)?.change.job;
      return { changes, after: last ?? { ...before, steps: after.steps }, taken: flow.inbox.taken(), children };
    },
  };
  return pass;

  /** What a job waited for before it began is no reason any more. */
  function causeAfter(): Cause {
    const isOwn = pass.end !== null || pass.ending !== null || pass.cancelled !== null;
    if (isOwn || before.state !== "PENDING" || pass.isPaused()) return pass.cause;
    return { reason: hasBegun ? "UNSPECIFIED" : "QUEUED", message: "" };
  }

  /** Results are looked up when an expression asks for them: most ask for few of them, or none. */
  function openScope(): Scope {
    const seen = Object.create(null) as Record<string, { state: string; result: unknown }>;
    for (const name of plan.steps.keys()) {
      seen[name] = {
        get state() {
          return pass.step(name).state;
        },
        get result() {
          return results.of(pass.step(name)) ?? null;
        },
      };
    }
    const { id, name, tenant, priority, queue } = before;
    const { labels, source } = plan.spec;
    return {
      input: plan.spec.input ?? null,
      steps: seen,
      job: {
        id,
        name,
        tenant,
        priority,
        queue,
        labels,
        source,
        get outcome() {
          return pass.ending?.outcome ?? null;
        },
        get reason() {
          return pass.ending?.reason ?? null;
        },
        get message() {
          return pass.ending?.message ?? null;
        },
      },
    };
  }
}

/** A step that has ended without having been placed says nothing about the job having begun. */
function beginsJob({ state, executionId }: Step): boolean {
  if (state === "RUNNING" || state === "SUSPENDED" || state === "SUCCEEDED") return true;
  return (state === "FAILED" || state === "TIMED_OUT") && executionId !== null;
}
