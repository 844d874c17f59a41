/** The bench's end of a load process: orders go out, one at a time, and what was handled comes in as it happens. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { SystemName } from "./systems/system.ts";

/** In batches of 1,000 with two under way; one by one with 64 under way; as a raw call each, 64 under way. */
export type How = "batches" | "singly" | "unary";

export type Order =
  | { readonly do: "submit"; readonly how: How; readonly count: number }
  | { readonly do: "latency"; readonly perSecond: number; readonly seconds: number }
  | { readonly do: "work"; readonly slots: number }
  | { readonly do: "rest" | "end" };

export type Report =
  | { readonly done: string; readonly values: readonly number[] }
  | { readonly failed: string }
  | { readonly handled: number };

export interface Load {
  readonly pid: number;
  /** Answers when every job was accepted. */
  submit(how: How, count: number): Promise<void>;
  /** Milliseconds from the call of submit to the start of the handler, for jobs that come at a steady rate. */
  latencies(perSecond: number, seconds: number): Promise<readonly number[]>;
  work(slots: number): Promise<void>;
  /** Ends the worker, not the process. */
  rest(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it; `onHandled` is told how many more handlers have run. */
export async function startLoad(
  name: SystemName,
  where: string,
  onHandled: (count: number) => void = () => {},
): Promise<Load> {
  const child = fork(join(import.meta.dirname, "loadProcess.ts"), [name, where]);
  let answer = Promise.withResolvers<readonly number[]>();
  child.on("message", (report: Report) => {
    if ("handled" in report) onHandled(report.handled);
    else if ("failed" in report) answer.reject(new Error(`${name}: ${report.failed}`));
    else answer.resolve(report.values);
  });
  child.on("exit", (code) => answer.reject(new Error(`the load process of ${name} ended with ${code}`)));

  function give(order: Order): Promise<readonly number[]> {
    answer = Promise.withResolvers();
    child.send(order);
    return answer.promise;
  }
  const done = async (order: Order) => void (await give(order));

  await answer.promise;
  return {
    pid: child.pid ?? 0,
    submit: (how, count) => done({ do: "submit", how, count }),
    latencies: (perSecond, seconds) => give({ do: "latency", perSecond, seconds }),
    work: (slots) => done({ do: "work", slots }),
    rest: () => done({ do: "rest" }),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      const kill = setTimeout(() => child.kill("SIGKILL"), 30_000);
      await give({ do: "end" }).catch(() => child.kill("SIGKILL"));
      await ended;
      clearTimeout(kill);
    },
  };
}
