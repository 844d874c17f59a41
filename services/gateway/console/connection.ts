/**
 * Whether the gateway answers. Once it does not, it is asked again until it does; then `epoch` grows, and whatever is shown is read
 * anew.
 */
import { signal } from "@preact/signals";
import { apiUrl } from "./base.ts";

const firstWaitMs = 500;
const longestWaitMs = 5_000;

/** True while the gateway answers. */
export const isUp = signal(true);
/** Grows whenever something may have been missed: the gateway is back, or the live connection is. */
export const epoch = signal(0);
/** When it is asked again, in milliseconds since 1970; 0 while it is being asked. */
export const nextTryTime = signal(0);

let timer: ReturnType<typeof setTimeout> | undefined;
let waitMs = firstWaitMs;

async function probe(): Promise<void> {
  clearTimeout(timer);
  nextTryTime.value = 0;
  try {
    const response = await fetch(apiUrl("system/health"), { signal: AbortSignal.timeout(4_000), cache: "no-store" });
    // A proxy answers for a gateway that is gone.
    if (response.status === 502 || response.status === 504) throw new Error(`answered ${response.status}`);
    connection.answered();
  } catch {
    isUp.value = false;
    waitMs = Math.min(waitMs * 2, longestWaitMs);
    schedule();
  }
}

function schedule(): void {
  clearTimeout(timer);
  nextTryTime.value = Date.now() + waitMs;
  timer = setTimeout(probe, waitMs);
}

export const connection = {
  /** A call has failed without an answer. */
  lose(): void {
    if (!isUp.value) return;
    isUp.value = false;
    waitMs = firstWaitMs;
    schedule();
  },

  /** A call was answered, whatever the answer. */
  answered(): void {
    if (isUp.value) return;
    clearTimeout(timer);
    isUp.value = true;
    epoch.value += 1;
  },

  /** Something may have been missed. */
  missed(): void {
    epoch.value += 1;
  },

  /** Something else than a call was cut off: is it the gateway? */
  check(): void {
    if (isUp.value) void probe();
  },

  tryNow(): void {
    if (!isUp.value) void probe();
  },
};

window.addEventListener("online", connection.tryNow);
