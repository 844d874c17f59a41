/**
 * Ctrl-C while a job runs. The first asks the platform to cancel it, and we stay until its end is confirmed; the second leaves
 * at once. SIGTERM counts the same.
 */
import { DomainError } from "@capstan/errors";
import { note } from "./output.ts";
import { runExitCodes } from "./runOutcome.ts";

export interface Interruptions {
  /** Asks to cancel, once; never fails: what went wrong is said on stderr. */
  cancel(why: string): Promise<void>;
  /** Gives the signals back to the system. */
  stop(): void;
}

/**
 * Listens until stopped. An interruption before the id of the job is known waits for it, so that a job that was accepted is never left
 * behind. `requestCancel` may be called again after it has failed.
 */
export function interruptions(
  jobId: Promise<string>,
  requestCancel: (jobId: string, why: string) => Promise<unknown>,
): Interruptions {
  let isRequested = false;
  let count = 0;
  let known = "";
  jobId.then(
    (id) => {
      known = id;
    },
    // Whoever submits the job says why there is none.
    () => {},
  );

  async function cancel(why: string): Promise<void> {
    if (isRequested) return;
    isRequested = true;
    try {
      await requestCancel(await jobId, why);
    } catch (error) {
      // It has ended by itself meanwhile: nothing is left to cancel.
      if (error instanceof DomainError && error.code === "FAILED_PRECONDITION") return;
      isRequested = false;
      if (known !== "")
        note(`could not cancel job ${known}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  function onSignal(): void {
    count++;
    if (count > 1) {
      note(known === "" ? "leaving" : `leaving; job ${known} may still be running: capstan job get ${known}`);
      process.exit(runExitCodes.cancelled);
    }
    note(`cancelling${known === "" ? "" : ` job ${known}`}; once more to leave at once`);
    void cancel("interrupted at the terminal");
  }

  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.on(signal, onSignal);
  return {
    cancel,
    stop() {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}
