/** What a queue that holds something back says of it, in words that stay the same for as long as it does. */
import type { Queue, RateLimit } from "./queue.ts";
import type { HoldReason } from "./shareTurns.ts";

const queueReasons: readonly string[] = ["QUEUE_PAUSED", "QUEUE_LIMIT", "KEY_LIMIT", "RATE_LIMIT"];

/** Whether it is the queue that is in the way, not the want of a place. */
export function isQueueReason(reason: string): boolean {
  return queueReasons.includes(reason);
}

export function whyHeld(
  queue: Queue,
  key: string,
  hold: HoldReason,
): { readonly reason: string; readonly message: string } {
  const { name, settings, pauseMessage } = queue;
  switch (hold) {
    case "QUEUE_PAUSED":
      return { reason: hold, message: `queue ${name} is paused${pauseMessage === "" ? "" : `: ${pauseMessage}`}` };
    case "QUEUE_LIMIT":
      return { reason: hold, message: `queue ${name} runs ${settings.maxRunning}, as many as it may` };
    case "KEY_LIMIT":
      return {
        reason: hold,
        message: `queue ${name} runs ${settings.maxRunningPerKey} with key ${JSON.stringify(key)}, as many as it may`,
      };
    case "RATE_LIMIT":
      return { reason: hold, message: `queue ${name} has begun ${sayRate(settings.rate)}, as many as it may` };
    case "KEY_RATE_LIMIT": {
      const rate = sayRate(settings.ratePerKey);
      const message = `queue ${name} has begun ${rate} with key ${JSON.stringify(key)}, as many as it may`;
      return { reason: "RATE_LIMIT", message };
    }
  }
}

function sayRate(rate: RateLimit | null): string {
  return rate === null ? "" : `${rate.count} in ${rate.periodMs / 1_000} s`;
}

/** What would have to change, for people; "" where it goes on by itself. */
export function remedyFor(
  reason: string,
  stage: string,
  { queue, sagaId }: { readonly queue: string; readonly sagaId: string },
): string {
  if (stage === "PARKED") return `mend the cause, then: capstan saga retry ${sagaId} (or skip, or compensate)`;
  if (stage === "COMPENSATING") return `its provider has to answer, or: capstan saga force ${sagaId} --note <why>`;
  switch (reason) {
    case "QUEUE_PAUSED":
      return `capstan queue resume ${queue}`;
    case "JOB_PAUSED":
      return "its job has to go on: capstan job resume";
    case "QUEUE_LIMIT":
      return `one of the queue has to end, or: capstan queue set ${queue} --max-running`;
    case "KEY_LIMIT":
      return `one with its key has to end, or: capstan queue set ${queue} --max-running-per-key`;
    case "RATE_LIMIT":
      return `the period has to pass, or: capstan queue set ${queue} --rate`;
    case "NO_PROVIDER_MATCHES":
      return "a provider that passes has to be registered or changed, or the step be submitted with another placement";
    case "PROVIDER_UNHEALTHY":
      return "a provider that matches has to answer its probes again; see capstan provider get";
    case "NO_CAPACITY":
      return "something has to end on a provider that matches, or the provider be given more: capstan provider update";
    default:
      return "";
  }
}
