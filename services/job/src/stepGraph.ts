/** The graph of a job's steps: what depends on what, in which order, and whether it goes round in circles. */
import type { Refuse } from "./fieldChecks.ts";

/** What a step is there for. */
export type Role = "main" | "hook" | "compensation";

/** The graph of a spec whose names are known; `dependencies` are indexes, and only those that exist and are main steps. */
export interface StepGraph {
  readonly names: readonly string[];
  readonly indexOf: ReadonlyMap<string, number>;
  readonly roles: readonly Role[];
  readonly dependencies: readonly (readonly number[])[];
}

/** Tells each cycle with its path, and the steps that wait for one. */
export function checkCycles({ names, dependencies }: StepGraph, refuse: Refuse): void {
  const order = orderOf(dependencies);
  if (order.length === names.length) return;
  const ordered = new Set(order);
  const seen = new Set<number>();
  const inCycle = new Set<number>();
  const stuck = names.keys().filter((index) => !ordered.has(index));
  for (const start of stuck) {
    const path: number[] = [];
    let at: number | undefined = start;
    while (at !== undefined && !seen.has(at)) {
      seen.add(at);
      path.push(at);
      // What is stuck depends on something that is stuck too.
      at = dependencies[at]?.find((index) => !ordered.has(index));
    }
    const from = at === undefined ? -1 : path.indexOf(at);
    if (from < 0) continue;
    tellCycle(path.slice(from), names, refuse);
    for (const index of path.slice(from)) inCycle.add(index);
  }
  for (const index of names.keys()) {
    if (!ordered.has(index) && !inCycle.has(index)) {
      refuse(`steps[${index}].depends_on`, "can never be reached: it waits for steps that wait for each other");
    }
  }
}

/** Begins with the step that stands first in the spec. A long cycle is told by its first steps. */
function tellCycle(cycle: readonly number[], names: readonly string[], refuse: Refuse): void {
  const first = cycle.indexOf(Math.min(...cycle));
  const path = [...cycle.slice(first), ...cycle.slice(0, first)].map((index) => names[index] ?? "");
  const shown = path.length > 20 ? [...path.slice(0, 20), `… (${path.length} steps)`] : path;
  refuse(`steps[${cycle[first]}].depends_on`, `makes a cycle: ${[...shown, path[0]].join(" -> ")}`);
}

/** The indexes in an order in which each comes after what it depends on; without those that are in a cycle or wait for one. */
export function orderOf(dependencies: StepGraph["dependencies"]): readonly number[] {
  const waitsFor = dependencies.map((indexes) => indexes.length);
  const dependents: number[][] = dependencies.map(() => []);
  for (const [index, indexes] of dependencies.entries()) for (const on of indexes) dependents[on]?.push(index);
  const order = [...waitsFor.keys()].filter((index) => waitsFor[index] === 0);
  for (const index of order) {
    for (const dependent of dependents[index] ?? []) {
      const left = (waitsFor[dependent] ?? 0) - 1;
      waitsFor[dependent] = left;
      if (left === 0) order.push(dependent);
    }
  }
  return order;
}

/** Whether a step depends on another, directly or not. */
export type Ancestors = (index: number, other: number) => boolean;

/** One bit for each pair: a thousand steps need 125 kB. */
export function ancestorsOf(dependencies: StepGraph["dependencies"]): Ancestors {
  const width = Math.ceil(dependencies.length / 32);
  const bits = new Uint32Array(width * dependencies.length);
  for (const index of orderOf(dependencies)) {
    const row = bits.subarray(index * width, (index + 1) * width);
    for (const on of dependencies[index] ?? []) {
      const inherited = bits.subarray(on * width, (on + 1) * width);
      for (let word = 0; word < width; word += 1) row[word] = (row[word] ?? 0) | (inherited[word] ?? 0);
      row[on >>> 5] = (row[on >>> 5] ?? 0) | (1 << (on & 31));
    }
  }
  // What is in a cycle has no order: its own dependencies are enough, the cycle itself is told.
  return (index, other) =>
    ((bits[index * width + (other >>> 5)] ?? 0) & (1 << (other & 31))) !== 0 ||
    (dependencies[index] ?? []).includes(other);
}
