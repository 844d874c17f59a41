/**
 * What a worker pool is made of: its connected workers, those with the same handlers and labels together. In one form whatever order
 * they were told in, so that the same workers again are the same groups.
 */
import type { FieldViolation } from "@capstan/errors";
import { checkLabels, type Labels } from "@capstan/labels";

export interface WorkerGroup {
  /** Sorted, each once. */
  readonly handlers: readonly string[];
  readonly labels: Labels;
  readonly workers: number;
  readonly slots: number;
}

const handlerPattern = /^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,126}[a-zA-Z0-9])?$/;
const maxHandlers = 256;
const maxCount = 1_000_000;
/** What any provider may have. */
const maxSlots = 100_000;

/** Sorted, with those that are alike as one. */
export function inOneForm(groups: readonly WorkerGroup[]): readonly WorkerGroup[] {
  const byKey = new Map<string, WorkerGroup>();
  for (const group of groups) {
    const handlers = [...new Set(group.handlers)].sort();
    const labels = Object.fromEntries(Object.entries(group.labels).sort(byFirst));
    const key = JSON.stringify([handlers, labels]);
    const there = byKey.get(key);
    const workers = group.workers + (there?.workers ?? 0);
    byKey.set(key, { handlers, labels, workers, slots: group.slots + (there?.slots ?? 0) });
  }
  return [...byKey].sort(byFirst).map(([, group]) => group);
}

/** Whatever the order of their labels, which jsonb does not keep. */
export function areSameGroups(some: readonly WorkerGroup[], others: readonly WorkerGroup[]): boolean {
  return JSON.stringify(inOneForm(some)) === JSON.stringify(inOneForm(others));
}

/** The capacity of the pool. More than a provider may have is not counted. */
export function slotsOf(groups: readonly WorkerGroup[]): number {
  return Math.min(maxSlots, sum(groups, "slots"));
}

/** Such as "3 workers, 150 slots". */
export function sayWorkers(groups: readonly WorkerGroup[]): string {
  if (groups.length === 0) return "no worker is connected";
  return `${counted(sum(groups, "workers"), "worker")}, ${counted(sum(groups, "slots"), "slot")}`;
}

/** Every bad field; empty if all are good. */
export function checkGroups(groups: readonly WorkerGroup[]): readonly FieldViolation[] {
  return groups.flatMap(({ handlers, labels, workers, slots }, index) => {
    const refuse = (field: string, description: string) => ({ field: `groups[${index}].${field}`, description });
    const isCount = (count: number) => count >= 1 && count <= maxCount;
    const badHandler = handlers.findIndex((handler) => !handlerPattern.test(handler));
    return [
      ...(handlers.length < 1 || handlers.length > maxHandlers
        ? [refuse("handlers", `has ${handlers.length} entries; must have 1 to ${maxHandlers}`)]
        : []),
      ...(badHandler === -1 ? [] : [refuse(`handlers[${badHandler}]`, `must match ${handlerPattern.source}`)]),
      ...checkLabels(labels, `groups[${index}].labels`),
      ...(isCount(workers) ? [] : [refuse("workers", `is ${workers}; must be 1 to ${maxCount}`)]),
      ...(isCount(slots) ? [] : [refuse("slots", `is ${slots}; must be 1 to ${maxCount}`)]),
    ];
  });
}

function sum(groups: readonly WorkerGroup[], of: "workers" | "slots"): number {
  return groups.reduce((total, group) => total + group[of], 0);
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function byFirst([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
