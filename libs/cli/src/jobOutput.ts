/** The output of a job on our stdout and stderr: that of its executions, one after the other, each to its end. */
import type { Capstan } from "@capstan/client";
import { noteLosses, printChunk, readLog } from "./executionLog.ts";
import { note } from "./output.ts";

/** How long the log of an ended job may take to be sealed before it is left as it is. */
const sealPatienceMs = 15_000;

interface JobOutput {
  /** Aborted when there is no point in going on: by the caller, or because output could not be printed. */
  readonly signal: AbortSignal;
  /** Prints the output of an execution after that of those before it; nothing for one that was added already, or "". */
  add(executionId: string): void;
  /** Waits until all is printed, and throws if that failed. */
  end(): Promise<void>;
}

/** Begins with nothing to print. */
export function startJobOutput(capstan: Capstan, signal: AbortSignal | undefined): JobOutput {
  const stop = new AbortController();
  const stopped = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const executionIds = new Set<string>();
  let printed = Promise.resolve();
  /** Since when nothing has come from the platform; infinite while we wait for whoever reads us. */
  let silentSince = performance.now();
  let isGivenUp = false;

  async function printOutput(executionId: string): Promise<void> {
    const summary = await readLog(capstan, { executionId, follow: true, signal: stopped }, async (chunk) => {
      silentSince = Number.POSITIVE_INFINITY;
      await printChunk(chunk);
      silentSince = performance.now();
    });
    noteLosses(summary);
  }

  return {
    signal: stopped,
    add(executionId) {
      if (executionId === "" || executionIds.has(executionId)) return;
      executionIds.add(executionId);
      printed = printed.then(() => printOutput(executionId));
      printed.catch(() => stop.abort());
    },
    async end() {
      silentSince = Math.max(silentSince, performance.now());
      const patience = setInterval(() => {
        if (performance.now() - silentSince < sealPatienceMs) return;
        note("the log is not complete yet; ask for it later with capstan job logs");
        isGivenUp = true;
        stop.abort();
      }, 500);
      await printed
        .catch((error) => {
          if (!isGivenUp) throw error;
        })
        .finally(() => clearInterval(patience));
    },
  };
}
