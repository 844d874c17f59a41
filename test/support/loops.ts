/** Loops as a service runs them, for tests of what a loop does; without health, jitter and logs. */
import type { Loops } from "@capstan/postgres";

/** One pass at a time, again when woken during it or when it says that there is more. */
export function createTestLoops(): Loops & { readonly stop: () => Promise<void> } {
  const stops: (() => Promise<void>)[] = [];
  return {
    addCheck: () => {},
    startLoop: ({ intervalMs, once }) => {
      const stopping = new AbortController();
      let isWoken = false;
      let wakeUp = () => {};
      const wake = () => {
        isWoken = true;
        wakeUp();
      };
      const run = async () => {
        while (!stopping.signal.aborted) {
          isWoken = false;
          const hasMore = await once(stopping.signal).catch(() => false);
          if (hasMore || isWoken || stopping.signal.aborted) continue;
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, intervalMs);
            wakeUp = () => {
              clearTimeout(timer);
              resolve();
            };
          });
        }
      };
      const ended = run();
      const stop = async () => {
        stopping.abort();
        wakeUp();
        await ended;
      };
      stops.push(stop);
      return { wake, stop };
    },
    stop: async () => {
      await Promise.all(stops.map((stop) => stop()));
    },
  };
}
