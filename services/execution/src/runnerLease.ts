/**
 * The lease of this process on all it runs: one row, renewed at a third of its time. A runner that cannot renew for two thirds
 * of it must assume that others will soon take over, and lets go of its work before they do; then it begins anew under another
 * id, so that what it held before is taken over like anybody's.
 *
 * Local time is monotonic and counted from before the renewal was sent, so that it never believes in the lease for too long.
 */
import { randomUUID } from "node:crypto";
import type { Pool } from "@capstan/postgres";
import type { App } from "@capstan/service";
import { describeThisRunner } from "./runnerHost.ts";
import { addRunner, removeRunner, renewRunner } from "./runnerStore.ts";

export interface RunnerLease {
  /** Of the runner that this process is now. */
  readonly id: string;
  readonly isHeld: boolean;
  /** Called when the lease is lost or can no longer be trusted. */
  onLost(letGo: () => void): void;
  /** Called before the process becomes another runner: the last moment to write as the old one. */
  onRenewal(finishWriting: () => Promise<void>): void;
  release(): Promise<void>;
}

interface RunnerLeaseOptions {
  readonly app: Pick<App, "startLoop" | "log">;
  readonly pool: Pool;
  readonly leaseMs: number;
}

/** Registers this process as a runner and keeps its lease. */
export async function startRunnerLease({ app, pool, leaseMs }: RunnerLeaseOptions): Promise<RunnerLease> {
  const { host, pid, pidStart } = describeThisRunner();
  let id = "";
  let heldUntilMs = 0;
  let isLost = true;
  let watchdog: NodeJS.Timeout | null = null;
  let letGo = () => {};
  let finishWriting = async () => {};

  function lose(message: string): void {
    if (isLost) return;
    isLost = true;
    app.log.error({ runnerId: id }, message);
    letGo();
  }

  function trust(sentAtMs: number): void {
    heldUntilMs = sentAtMs + leaseMs;
    isLost = false;
    if (watchdog !== null) clearTimeout(watchdog);
    const leftMs = sentAtMs + (leaseMs * 2) / 3 - performance.now();
    watchdog = setTimeout(() => lose("the runner could not renew its lease and lets go of its executions"), leftMs);
    watchdog.unref();
  }

  async function register(): Promise<void> {
    const previousId = id === "" ? null : id;
    if (previousId !== null) await finishWriting();
    const next = randomUUID();
    const sentAtMs = performance.now();
    await addRunner(pool, { id: next, host, pid, pidStart, leaseMs, previousId });
    id = next;
    trust(sentAtMs);
  }

  async function renewOnce(): Promise<void> {
    if (isLost) return await register();
    const sentAtMs = performance.now();
    if (await renewRunner(pool, id, leaseMs)) return trust(sentAtMs);
    lose("the runner was declared dead and lets go of its executions");
    await register();
  }

  await register();
  const loop = app.startLoop({ name: "renew-runner", intervalMs: leaseMs / 3, once: renewOnce });

  return {
    get id() {
      return id;
    },
    get isHeld() {
      return !isLost && performance.now() < heldUntilMs;
    },
    onLost(callback) {
      letGo = callback;
    },
    onRenewal(callback) {
      finishWriting = callback;
    },
    async release() {
      await loop.stop();
      if (watchdog !== null) clearTimeout(watchdog);
      await removeRunner(pool, id);
    },
  };
}
