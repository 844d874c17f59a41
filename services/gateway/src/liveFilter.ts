/** Which events a subscription wants. Pure. */
import type { LiveEvent } from "./liveEvent.ts";

/** What is absent, or empty, wants everything. */
export interface LiveFilter {
  readonly jobId?: string | undefined;
  readonly executionId?: string | undefined;
  /** `job.succeeded`, `job.*`, `*.failed`, or with its context `capstan.job.v1.job.succeeded`. */
  readonly types?: readonly string[] | undefined;
  /** Words such as SUCCEEDED: the state after the event, of the job or of the execution. */
  readonly states?: readonly string[] | undefined;
  readonly queue?: string | undefined;
  /** Of the job; all of them. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

type EventMatcher = (event: LiveEvent) => boolean;

/** Cheap questions first: what the subject says, then a header, and the data only of what is left. Labels are asked elsewhere. */
export function createMatcher({ jobId, executionId, types = [], states = [], queue }: LiveFilter): EventMatcher {
  const wanted = types.map(typeParts);
  const words = new Set(states);
  return (event) => {
    if (wanted.length > 0 && !wanted.some((type) => isOfType(event, type))) return false;
    if (executionId !== undefined && event.subject !== executionId) return false;
    if (jobId !== undefined && event.jobId !== jobId) return false;
    if (words.size > 0 && !words.has(stateWord(event.data.state))) return false;
    return queue === undefined || event.data.queue === queue;
  };
}

/** The job context tells of schedules, templates and repairs as well. */
export function createJobMatcher(filter: LiveFilter): EventMatcher {
  const matches = createMatcher(filter);
  return (event) => (event.noun === "job" || event.noun === "step") && matches(event);
}

interface TypeParts {
  readonly context: string;
  readonly noun: string;
  readonly event: string;
}

function typeParts(type: string): TypeParts {
  const parts = type.split(".");
  const [noun = "*", event = "*"] = parts.slice(-2);
  return { context: parts.length > 2 ? (parts[1] ?? "*") : "*", noun, event };
}

function isOfType(event: LiveEvent, { context, noun, event: name }: TypeParts): boolean {
  return (
    (noun === "*" || noun === event.noun) &&
    (name === "*" || name === event.event) &&
    (context === "*" || context === event.context)
  );
}

/** `JOB_STATE_TIMED_OUT` is TIMED_OUT. */
function stateWord(state: unknown): string {
  return typeof state === "string" ? state.replace(/^[A-Z]+_STATE_/, "") : "";
}

export function hasLabels(
  labels: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>> | undefined,
): boolean {
  return Object.entries(wanted ?? {}).every(([key, value]) => labels[key] === value);
}
