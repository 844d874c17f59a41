/** Workers and their pools as tables for people. */
import type { Worker } from "@capstan/proto/capstan/execution/v1/worker.ts";
import type { WorkerGroup } from "@capstan/proto/capstan/provider/v1/provider.ts";
import { formatAge } from "./durations.ts";
import { enumCell } from "./enumWord.ts";
import { formatPairs, formatTable } from "./table.ts";

export function formatWorkers(workers: readonly Worker[], now: Date, maxWidth: number | undefined): string {
  return workers.length === 0
    ? ""
    : formatTable(
        workers,
        [
          { title: "ID", cell: ({ id }) => id },
          { title: "POOL", cell: ({ pool }) => pool },
          { title: "STATE", cell: ({ state }) => enumCell(state) },
          { title: "SLOTS", cell: ({ slots }) => String(slots) },
          { title: "AGE", cell: ({ createTime }) => formatAge(now.getTime() - (createTime ?? now).getTime()) },
          { title: "HOST", cell: ({ host }) => host },
          { title: "SDK", cell: ({ sdk }) => sdk },
          { title: "LABELS", cell: ({ labels }) => formatPairs(labels) },
          { title: "HANDLERS", cell: ({ handlers }) => handlers.join(", ") },
        ],
        maxWidth,
      );
}

/** How many workers a pool has. */
export function workersOf(groups: readonly WorkerGroup[]): number {
  return groups.reduce((sum, { workers }) => sum + workers, 0);
}

/** Every handler that a worker of the pool has. */
export function handlersOf(groups: readonly WorkerGroup[]): string {
  return [...new Set(groups.flatMap(({ handlers }) => handlers))].sort().join(", ");
}

/** The workers of a pool, those that are alike in one line; "" when there are none. */
export function formatGroups(groups: readonly WorkerGroup[], maxWidth: number | undefined): string {
  if (groups.length === 0) return "";
  return formatTable(
    groups,
    [
      { title: "WORKERS", cell: ({ workers }) => String(workers) },
      { title: "SLOTS", cell: ({ slots }) => String(slots) },
      { title: "LABELS", cell: ({ labels }) => formatPairs(labels) },
      { title: "HANDLERS", cell: ({ handlers }) => handlers.join(", ") },
    ],
    maxWidth,
  );
}
