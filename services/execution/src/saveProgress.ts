/** Stores how far handlers say they are: the last word of each, one statement a second for all of them. */
import type { Pool } from "@capstan/postgres";
import type { App } from "@capstan/service";
import type { RunnerLease } from "./runnerLease.ts";
import { type Progress, saveProgress } from "./workerStore.ts";

interface ProgressOptions {
  readonly app: Pick<App, "onStop" | "log">;
  readonly pool: Pool;
  readonly lease: RunnerLease;
}

const pauseMs = 1_000;

export function startSavingProgress({ app, pool, lease }: ProgressOptions): { note(progress: Progress): void } {
  const words = new Map<string, Progress>();
  let timer: NodeJS.Timeout | null = null;

  async function save(): Promise<void> {
    timer = null;
    const last = [...words.values()];
    words.clear();
    try {
      await saveProgress(pool, lease.id, last);
    } catch (error) {
      // The next word says more.
      app.log.warn({ err: error, executions: last.length }, "progress could not be saved");
    }
  }

  app.onStop(() => clearTimeout(timer ?? undefined));
  return {
    note(progress) {
      words.set(progress.executionId, progress);
      timer ??= setTimeout(() => void save(), pauseMs);
    },
  };
}
