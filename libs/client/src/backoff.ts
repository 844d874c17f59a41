/** Waiting between tries: the longer the more have failed, and never the same for two clients. */
import { cancelled } from "./failures.ts";

const firstMs = 100;
const longestMs = 5_000;

/** Milliseconds to wait after so many failures in a row, from 1: random from 0 to 100 ms, 200 ms … 5 s. */
export function backoffMs(failures: number): number {
  return Math.random() * Math.min(longestMs, firstMs * 2 ** (failures - 1));
}

/** Fails with CANCELLED when the signal aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(cancelled());
    const stop = () => {
      clearTimeout(timer);
      reject(cancelled());
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
