/** What can be done with a queue, and what it allows in words. */
import { post } from "./api.ts";
import { durationMs, formatCount, formatLength, humanWord, plural } from "./format.ts";
import { act } from "./jobActions.ts";
import type { QueueView } from "./json.ts";
import { ask, whyAsked } from "./ui/dialog.ts";

export type Queue = NonNullable<QueueView["queue"]>;
export type Settings = NonNullable<Queue["settings"]>;
type Rate = NonNullable<Settings["rate"]>;
export type WaitRule = NonNullable<Settings["onWait"]>[number];

/** `100 a minute`, `5 in 30s`. */
export function rateText(rate: Rate | undefined): string {
  const count = rate?.count ?? 0;
  if (count === 0) return "";
  const ms = durationMs(rate?.period);
  const named: Readonly<Record<number, string>> = { 1000: "second", 60000: "minute", 3600000: "hour", 86400000: "day" };
  const unit = named[ms];
  return unit === undefined
    ? `${formatCount(count)} in ${formatLength(rate?.period)}`
    : `${formatCount(count)} a ${unit}`;
}

const policies: Readonly<Record<string, string>> = {
  KEY_POLICY_DROP_NEWEST: "then the newest is dropped",
  KEY_POLICY_CANCEL_RUNNING: "then what runs is cancelled",
};

/** Each limit as a few words; none of a queue without limits. */
export function limitsOf(settings: Settings = {}): readonly string[] {
  const { maxRunning = 0, maxRunningPerKey = 0, keyPolicy = "", rate, ratePerKey, maxDepth = 0 } = settings;
  const policy = policies[keyPolicy];
  return [
    maxRunning > 0 ? `${formatCount(maxRunning)} at once` : "",
    rateText(rate),
    maxRunningPerKey > 0 ? `${formatCount(maxRunningPerKey)} per key${policy === undefined ? "" : `, ${policy}`}` : "",
    rateText(ratePerKey) === "" ? "" : `${rateText(ratePerKey)} per key`,
    maxDepth > 0 ? `${formatCount(maxDepth)} pending` : "",
  ].filter((text) => text !== "");
}

const actions: Readonly<Record<string, string>> = {
  WAIT_ACTION_NOTIFY: "tell so in a fact",
  WAIT_ACTION_FAIL: "fail the attempt",
  WAIT_ACTION_MOVE: "ask another kind of provider",
};

/** `after 10m: tell so in a fact`. */
export function waitRuleText({ reason, after, action, providerKind }: WaitRule): string {
  const why = humanWord(reason);
  const target = providerKind ? `: ${providerKind.toLowerCase()}` : "";
  return `after ${formatLength(after)} ${why === "" ? "of waiting" : `of “${why}”`}, ${actions[action ?? ""] ?? ""}${target}`;
}

/** Its turn beside the other queues, from 0 to 1. */
export function shareOf(queue: QueueView, all: readonly QueueView[]): number {
  const weightOf = ({ queue: each }: QueueView) => Math.max(1, each?.settings?.weight ?? 1);
  return (
    weightOf(queue) /
    Math.max(
      1,
      all.reduce((sum, each) => sum + weightOf(each), 0),
    )
  );
}

export async function pauseQueue(name: string, { waiting = 0, running = 0 } = {}): Promise<boolean> {
  const reason = await ask({
    title: `Pause the queue “${name}”?`,
    text: `Nothing more of it begins until it is resumed: ${waiting === 0 ? "what is submitted meanwhile waits" : `${plural(waiting, "attempt")} that wait${waiting === 1 ? "s" : ""} go on waiting`}. ${running === 0 ? "Nothing of it runs now." : `What runs (${formatCount(running)}) goes on to its end.`} Timeouts of waiting jobs are not stopped.`,
    verb: "Pause the queue",
    reason: whyAsked,
  });
  if (reason === null) return false;
  return act(() => post(`queues/${name}:pause`, { message: reason }), `The queue ${name} is paused`);
}

export function resumeQueue(name: string): Promise<boolean> {
  return act(() => post(`queues/${name}:resume`), `The queue ${name} goes on`);
}
