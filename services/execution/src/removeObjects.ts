/** Removes the objects of executions whose end is committed, in the background; what fails is left to the reaper. */
import type { AnyEnd, Backend } from "./backends/backend.ts";
import type { Assignment } from "./execution.ts";

interface Remover {
  removeLater(assignment: Assignment): void;
  /** Resolves when nothing is being removed. */
  drain(): Promise<void>;
}

interface RemoverOptions {
  readonly openBackend: (assignment: Pick<Assignment, "kind" | "endpoint">) => Promise<Backend<AnyEnd>>;
  readonly concurrency: number;
  readonly log: { warn(fields: object, message: string): void };
}

export function createRemover({ openBackend, concurrency, log }: RemoverOptions): Remover {
  const waiting: Assignment[] = [];
  const working = new Set<Promise<void>>();

  async function removeWaiting(): Promise<void> {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      try {
        const backend = await openBackend(next);
        await backend.remove(next.id);
      } catch (error) {
        log.warn({ err: error, executionId: next.id }, "an ended execution's object could not be removed yet");
      }
    }
  }

  return {
    removeLater(assignment) {
      waiting.push(assignment);
      if (working.size >= concurrency) return;
      const work = removeWaiting().finally(() => working.delete(work));
      working.add(work);
    },
    async drain() {
      await Promise.all(working);
    },
  };
}
