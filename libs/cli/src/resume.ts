/** Calls and streams that outlive a restart of the platform: they are asked again, streams from where they were cut. */
import { setTimeout as sleep } from "node:timers/promises";
import { DomainError } from "@capstan/errors";

/** How long the platform may be away before it is given up. */
const patienceMs = 60_000;
const firstWaitMs = 100;
const longestWaitMs = 2_000;

/** A server that goes away cancels what is under way, and one that is frozen lets deadlines pass. */
const transientCodes: readonly string[] = ["UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"];

/** Waits before the next try, longer each time; throws the error when waiting will not cure it or has not for too long. */
function createPatience(signal: AbortSignal | undefined) {
  let failingSince: number | null = null;
  let waitMs = firstWaitMs;
  const pause = async () => {
    await sleep(waitMs, undefined, signal === undefined ? {} : { signal });
    waitMs = Math.min(longestWaitMs, waitMs * 2);
  };
  return {
    pause,
    async afterFailure(error: unknown): Promise<void> {
      const isTransient = error instanceof DomainError && transientCodes.includes(error.code);
      if (!isTransient || signal?.aborted) throw error;
      failingSince ??= performance.now();
      if (performance.now() - failingSince > patienceMs) throw error;
      await pause();
    },
    afterSuccess(): void {
      failingSince = null;
      waitMs = firstWaitMs;
    },
  };
}

/** The answer of a call that may be repeated, however often it takes. For what follows a first good answer of the platform. */
export async function persist<T>(call: () => Promise<T>): Promise<T> {
  const patience = createPatience(undefined);
  for (;;) {
    try {
      return await call();
    } catch (error) {
      await patience.afterFailure(error);
    }
  }
}

interface ResumeOptions<T> {
  /** Asks for what comes after the last item that was seen. */
  readonly open: () => AsyncIterable<T>;
  /** Asked when a stream has ended without an error, as it also does when a server shuts down. */
  readonly isComplete: () => Promise<boolean> | boolean;
  readonly signal?: AbortSignal | undefined;
}

/** The items of a stream, across as many connections as it takes. Ends when complete; throws what cannot be cured by waiting. */
export async function* resume<T>({ open, isComplete, signal }: ResumeOptions<T>): AsyncGenerator<T> {
  const patience = createPatience(signal);
  for (;;) {
    try {
      for await (const item of open()) {
        patience.afterSuccess();
        yield item;
      }
      if (await isComplete()) return;
      await patience.pause();
    } catch (error) {
      await patience.afterFailure(error);
    }
  }
}
