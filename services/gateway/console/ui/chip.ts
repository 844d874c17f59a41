/** The state of something as a word in a colour; the mark before it differs too, for those who do not see the colour. */
import { html } from "htm/preact";
import { enumWord, humanWord } from "../format.ts";

export type Tone = "good" | "bad" | "warn" | "info" | "quiet" | "plain";

const tones: Readonly<Record<string, Tone>> = {
  SUCCEEDED: "good",
  DONE: "good",
  HEALTHY: "good",
  ACTIVE: "good",
  PUBLISHED: "good",
  CONNECTED: "good",
  FAILED: "bad",
  TIMED_OUT: "bad",
  LOST: "bad",
  UNHEALTHY: "bad",
  PARKED: "bad",
  DOWN: "bad",
  RUNNING: "info",
  STARTED: "info",
  STARTING: "info",
  SETTLING: "info",
  RESERVED: "info",
  ASSIGNED: "info",
  CANCELLING: "warn",
  STOPPING: "warn",
  BACKOFF: "warn",
  SUSPENDED: "warn",
  DEGRADED: "warn",
  CORDONED: "warn",
  DRAINING: "warn",
  PAUSED: "warn",
  SILENT: "warn",
  COMPENSATING: "warn",
  DEPRECATED: "warn",
  CANCELLED: "quiet",
  SKIPPED: "quiet",
  DISABLED: "quiet",
  ENDED: "quiet",
  ARCHIVED: "quiet",
  COMPENSATED: "quiet",
};

/** How good or bad a state is; plain of what is neither, such as PENDING. */
export function toneOf(state: string | undefined): Tone {
  return tones[enumWord(state)] ?? "plain";
}

/** A state of a contract, such as `JOB_STATE_RUNNING`; nothing if it is not given. */
export function StateChip({ state }: { state: string | undefined }) {
  const word = humanWord(state);
  if (word === "") return null;
  return html`<${Chip} tone=${toneOf(state)} isMoving=${toneOf(state) === "info"} text=${word} />`;
}

export function Chip({ tone, text, isMoving = false }: { tone: Tone; text: string; isMoving?: boolean }) {
  return html`<span class=${`chip ${tone}${isMoving ? " moving" : ""}`}><i aria-hidden="true"></i>${text}</span>`;
}
