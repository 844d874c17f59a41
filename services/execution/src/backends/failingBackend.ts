/** A backend with failpoints around each of its operations, called as `PROCESS.start`. What they throw is a place that did not answer. */
import type { Failpoints } from "@capstan/failpoints";
import type { ProviderKind } from "../execution.ts";
import { type AnyEnd, type Backend, BackendUnavailable, type Running, StartRefused } from "./backend.ts";

export function failingBackend(failpoints: Failpoints, kind: ProviderKind, backend: Backend<AnyEnd>): Backend<AnyEnd> {
  async function failing<T>(operation: string, work: () => Promise<T>, hang?: () => Promise<T>): Promise<T> {
    try {
      return await failpoints.around("backend", `${kind}.${operation}`, work, hang === undefined ? {} : { hang });
    } catch (error) {
      if (error instanceof StartRefused || error instanceof BackendUnavailable) throw error;
      throw new BackendUnavailable(String(error));
    }
  }
  const failingStop = (running: Running<AnyEnd>): Running<AnyEnd> => ({
    ...running,
    stop: (...why) => failing("stop", () => running.stop(...why)),
  });
  return {
    probe: (signal) => failing("probe", () => backend.probe(signal)),
    // It hangs no longer than its caller wants it, as the port asks.
    start: (workload, sink, stopping, onPull) =>
      failing(
        "start",
        async () => failingStop(await backend.start(workload, sink, stopping, onPull)),
        () => untilAborted(stopping),
      ),
    adopt: (...which) =>
      failing("adopt", async () => {
        const running = await backend.adopt(...which);
        return running === null ? null : failingStop(running);
      }),
    list: () => failing("list", () => backend.list()),
    remove: (executionId) => failing("remove", () => backend.remove(executionId)),
    close: () => backend.close(),
  };
}

function untilAborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(new BackendUnavailable("given up")), { once: true });
  });
}
