/** The bench's end of a process with live clients. */
import { fork } from "node:child_process";
import { join } from "node:path";

export type LiveOrder =
  | { readonly do: "open"; readonly subscriptions: readonly object[] }
  | { readonly do: "read" | "reset" | "close" | "end" };

export interface LiveReport {
  /** Milliseconds from the commit of an event to its arrival. */
  readonly latencies: readonly number[];
  readonly events: number;
  readonly dropped: number;
}

export interface LiveLoad {
  readonly pid: number;
  /** Answers when every subscription has begun, each on a WebSocket of its own. */
  open(subscriptions: readonly object[]): Promise<void>;
  read(): Promise<LiveReport>;
  /** Forgets what was measured. */
  reset(): Promise<void>;
  close(): Promise<void>;
  stop(): void;
}

export async function startLive(url: string): Promise<LiveLoad> {
  const child = fork(join(import.meta.dirname, "liveProcess.ts"), [url]);
  let answer = Promise.withResolvers<LiveReport>();
  child.on("message", (report: LiveReport | { readonly failed: string }) => {
    if ("failed" in report) answer.reject(new Error(report.failed));
    else answer.resolve(report);
  });
  child.on("exit", (code) => answer.reject(new Error(`the process of live clients ended with ${code}`)));
  function give(order: LiveOrder): Promise<LiveReport> {
    answer = Promise.withResolvers();
    child.send(order);
    return answer.promise;
  }
  await answer.promise;
  return {
    pid: child.pid ?? 0,
    open: async (subscriptions) => void (await give({ do: "open", subscriptions })),
    read: () => give({ do: "read" }),
    reset: async () => void (await give({ do: "reset" })),
    close: async () => void (await give({ do: "close" })),
    stop() {
      child.removeAllListeners("exit");
      child.send({ do: "end" } satisfies LiveOrder);
    },
  };
}
