/**
 * How the moves of one pass over a workflow become facts: what happened in the same way is told together, the job's own move with the
 * first of them or the last, and no fact is larger than a message may be.
 */
import {
  type Change,
  type Ending,
  type Job,
  type JobEventType,
  moveJob,
  type Reason,
  type Step,
  type StepEventType,
  type StepState,
} from "./job.ts";
import type { Told } from "./plan.ts";

/** Changes that follow each other, each with the id of the command or fact that led to it. */
export interface CausedChange {
  readonly change: Change;
  readonly causationId: string;
}

interface Group {
  readonly event: StepEventType | "cancelling";
  readonly causationId: string;
  readonly steps: Map<string, Step>;
}

export interface Telling {
  /** From now on what is added follows from what was: it is told with the last of that. */
  followUp(): void;
  /** Told with what happened in the same way before, unless the step has moved otherwise since. */
  add(event: StepEventType, step: Step, told: Told | null, causationId: string): void;
  /** That the job is asked to end, and which steps wait for placement; what is added from now on is told after it. */
  addCancelling(waiting: readonly (readonly [Step, Told])[], spared: readonly string[], causationId: string): void;
  /** The changes of the job from what it was to what it is; `before` and `after` differ in all but state and sequence. */
  changes(before: Job, after: AfterPass): readonly CausedChange[];
}

/** What a pass has come to. */
export interface AfterPass {
  readonly steps: readonly Step[];
  readonly ending: Ending | null;
  readonly reason: Reason;
  readonly message: string;
  readonly result: unknown;
  /** It has begun, if it had not. */
  readonly hasBegun: boolean;
  /** Why it is asked to end; null if it is not, or was before. */
  readonly cancelled: { readonly reason: Reason; readonly message: string } | null;
  /** How it has ended; null if it has not. */
  readonly end: JobEventType | null;
}

/** With a result of 256 KiB, or a spec of 400 KiB alone, a fact stays below what a message may have. */
const maxPartBytes = 200 * 1024;

export function openTelling(): Telling {
  const groups: Group[] = [];
  const told = new Map<string, Told>();
  let spared: readonly string[] = [];
  let sealed = 0;
  let follows = false;

  function groupFor(event: StepEventType, name: string, causationId: string): Group {
    const last = groups.length > sealed ? groups.at(-1) : undefined;
    if (follows && last !== undefined) return last;
    for (let at = groups.length - 1; at >= sealed; at -= 1) {
      const group = groups[at];
      if (group === undefined || group.steps.has(name)) break;
      if (group.event === event) return group;
    }
    const group: Group = { event, causationId, steps: new Map() };
    groups.push(group);
    return group;
  }

  function partsOf({ event, steps, causationId }: Group): readonly Part[] {
    const parts: Step[][] = [[]];
    let bytes = 0;
    for (const step of steps.values()) {
      const more = bytesOf(step, told.get(step.name));
      if (bytes > 0 && bytes + more > maxPartBytes) {
        parts.push([]);
        bytes = 0;
      }
      parts.at(-1)?.push(step);
      bytes += more;
    }
    const ownEvent = event === "cancelling" ? "cancelled" : event;
    return parts.map((moved, at) => {
      const isLast = at === parts.length - 1;
      const [first] = moved;
      return {
        moved,
        causationId,
        event: at === 0 || first === undefined ? ownEvent : eventOfState[first.state],
        isCancelling: isLast && event === "cancelling",
      };
    });
  }

  return {
    followUp() {
      follows = true;
    },
    add(event, step, toldOfStep, causationId) {
      if (toldOfStep !== null) told.set(step.name, toldOfStep);
      groupFor(event, step.name, causationId).steps.set(step.name, step);
    },
    addCancelling(waiting, sparedSteps, causationId) {
      // What was cancelled by it is told with it.
      const [cancelled] = groups.splice(sealed);
      const steps = new Map(cancelled?.steps);
      for (const [step, toldOfStep] of waiting) {
        steps.set(step.name, step);
        told.set(step.name, toldOfStep);
      }
      groups.push({ event: "cancelling", causationId, steps });
      sealed = groups.length;
      spared = sparedSteps;
    },
    changes(before, after) {
      const told = groups.flatMap(partsOf);
      const isCancelling = told.some((part) => part.isCancelling) && after.end === null;
      const startsFirst = after.hasBegun && before.state === "PENDING" && !isCancelling;
      const parts = startsFirst ? withoutReadyFirst(told) : told;
      let job: Job = before;
      return parts.map((part, at) => {
        const isLast = at === parts.length - 1;
        const event =
          isLast && after.end !== null ? after.end : part.isCancelling && isCancelling ? "cancelling" : null;
        const ownEvent = event ?? (at === 0 && startsFirst ? "started" : null);
        job = {
          ...job,
          steps: after.steps,
          ending: after.ending,
          reason: after.reason,
          message: after.message,
        };
        const change = next(job, part, ownEvent, event === "cancelling" ? after.cancelled : null, after);
        job = change.job;
        return { change, causationId: part.causationId };
      });
    },
  };

  function next(
    job: Job,
    { moved, event }: Part,
    ownEvent: JobEventType | null,
    cause: AfterPass["cancelled"],
    after: AfterPass,
  ): Change {
    const specs = new Map(moved.flatMap(({ name, state }) => (state === "READY" ? specOf(name) : [])));
    if (ownEvent === null) {
      return { job: { ...job, sequence: job.sequence + 1 }, noun: "step", event, moved, told: specs };
    }
    const result = ownEvent === "succeeded" ? after.result : undefined;
    const isCancel = ownEvent === "cancelling";
    const change = { ...moveJob(job, ownEvent, cause ?? after, result), moved, told: specs };
    return isCancel ? { ...change, spared } : change;
  }

  function specOf(name: string) {
    const spec = told.get(name)?.spec;
    return spec === undefined ? [] : [[name, spec] as const];
  }
}

/** Whoever places steps does not listen for jobs that begin: most of these are of one step, and tell nothing new. */
function withoutReadyFirst([first, ...rest]: readonly Part[]): readonly Part[] {
  const ready = first?.moved.filter(({ state }) => state === "READY") ?? [];
  if (first === undefined || ready.length === 0) return first === undefined ? rest : [first, ...rest];
  const moved = first.moved.filter(({ state }) => state !== "READY");
  return [{ ...first, moved }, { ...first, moved: ready, event: "ready", isCancelling: false }, ...rest];
}

interface Part {
  readonly event: StepEventType;
  readonly moved: readonly Step[];
  readonly causationId: string;
  readonly isCancelling: boolean;
}

const eventOfState = {
  BLOCKED: "ready",
  READY: "ready",
  RUNNING: "started",
  BACKOFF: "backed_off",
  SUSPENDED: "suspended",
  SUCCEEDED: "succeeded",
  FAILED: "failed",
  CANCELLED: "cancelled",
  TIMED_OUT: "timed_out",
  SKIPPED: "skipped",
} as const satisfies Record<StepState, StepEventType>;

/** A little more than it takes in a fact. */
function bytesOf({ message }: Step, told: Told | undefined): number {
  return 400 + (message === "" ? 0 : Buffer.byteLength(JSON.stringify(message))) + (told?.bytes ?? 0);
}
