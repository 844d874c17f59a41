/**
 * What a provider must pass to be chosen, as a table in the order in which it is asked. The order is part of the contract: the
 * first filter that fails is the one that users read, and one about capacity means that everything before it has passed.
 */
import { failingConstraint, type LabelConstraint, type Labels, labelOf } from "@capstan/labels";
import type { Provider } from "./provider.ts";
import { type Amount, type ProviderKind, providerKinds } from "./providerSpec.ts";

/** Of a list in a message. */
const maxShown = 8;

export type Strategy = "LEAST_LOADED" | "BIN_PACKING" | "ROUND_ROBIN" | "SPREAD";

/** What one execution needs, and where it may be. */
export interface Wanted {
  readonly jobName: string;
  readonly amount: Amount;
  /** With an image it needs a kind that runs containers; without one, a kind that does not. */
  readonly needsImage: boolean;
  /** With a handler it needs a worker pool with a worker that has it; "": any other kind. */
  readonly handler: string;
  /** "": any. */
  readonly providerName: string;
  /** As users write it, such as "docker"; "": by what the step needs. */
  readonly kind: string;
  readonly constraints: readonly LabelConstraint[];
  readonly strategy: Strategy;
  /** "": each provider by itself. */
  readonly spreadLabel: string;
}

/** A provider while a batch is placed: what the batch has taken so far counts as reserved. */
export interface Room {
  readonly provider: Provider;
  readonly reserved: { slots: number; cpuMillis: number; memoryMib: number };
  lastChosen: number;
  /**
   * Where it can run and what constraints are compared with there: by handler on a worker pool, for each group of workers that
   * has it, under "" on any other provider.
   */
  readonly labels: ReadonlyMap<string, readonly Labels[]>;
}

/** A provider before the batch has taken anything. */
export function roomOf(provider: Provider): Room {
  return { provider, reserved: { ...provider.reserved }, lastChosen: provider.lastChosen, labels: labelsIn(provider) };
}

function labelsIn({ kind, labels, workerGroups }: Provider): ReadonlyMap<string, readonly Labels[]> {
  if (kind !== "WORKER") return new Map([["", [labels]]]);
  const byHandler = new Map<string, Labels[]>();
  for (const group of workerGroups) {
    for (const handler of group.handlers) {
      const there = byHandler.get(handler);
      if (there === undefined) byHandler.set(handler, [group.labels]);
      else there.push(group.labels);
    }
  }
  return byHandler;
}

type FilterName = "STATE" | "HEALTH" | "KIND" | "NAME" | "HANDLER" | "LABELS" | "SLOTS" | "CPU" | "MEMORY";

export interface Filter {
  readonly name: FilterName;
  /** What failing means: it never matches as things are, it is not well, or it is full. */
  readonly about: "match" | "health" | "capacity";
  passes(room: Room, wanted: Wanted): boolean;
  /** What was wanted and what is there. Only asked when it does not pass, because words are dear. */
  say(room: Room, wanted: Wanted): string;
}

export const filters: readonly Filter[] = [
  {
    name: "STATE",
    about: "match",
    passes: ({ provider }) => provider.state === "ACTIVE",
    say: ({ provider }) => `is ${provider.state}, only ACTIVE takes new work`,
  },
  {
    name: "HEALTH",
    about: "health",
    passes: ({ provider }) => provider.health === "HEALTHY" || provider.health === "DEGRADED",
    say: ({ provider }) => sayHealth(provider),
  },
  {
    name: "KIND",
    about: "match",
    passes: ({ provider }, wanted) =>
      provider.kind === kindNeeded(wanted) && (wanted.kind === "" || wanted.kind.toUpperCase() === provider.kind),
    say: ({ provider }, wanted) => sayKind(provider.kind, wanted),
  },
  {
    name: "NAME",
    about: "match",
    passes: ({ provider }, { providerName }) => providerName === "" || providerName === provider.name,
    say: (_, { providerName }) => `is not ${quoted(providerName)}`,
  },
  {
    name: "HANDLER",
    about: "match",
    passes: (room, { handler }) => isUnmanned(room) || room.labels.has(handler),
    say: ({ labels }, { handler }) => sayHandler([...labels.keys()], handler),
  },
  {
    name: "LABELS",
    about: "match",
    passes: (room, { handler, constraints }) =>
      isUnmanned(room) ||
      (room.labels.get(handler) ?? []).some((labels) => failingConstraint(constraints, labels) === null),
    say: (room, { handler, constraints }) => sayLabels(room.labels.get(handler) ?? [], handler, constraints),
  },
  capacityFilter("SLOTS", "slots", "slots"),
  capacityFilter("CPU", "cpuMillis", "thousandths of a CPU"),
  capacityFilter("MEMORY", "memoryMib", "MiB of memory"),
];

/** Null when the provider passes all. */
export function firstFailing(room: Room, wanted: Wanted): Filter | null {
  for (const filter of filters) {
    if (!filter.passes(room, wanted)) return filter;
  }
  return null;
}

function capacityFilter(name: FilterName, of: keyof Amount, unit: string): Filter {
  return {
    name,
    about: "capacity",
    passes: ({ provider, reserved }, { amount }) => {
      const all = provider.capacity[of];
      const isUncounted = of !== "slots" && all === 0;
      return isUncounted || reserved[of] + amount[of] <= all;
    },
    say: ({ provider, reserved }, { amount }) => {
      const all = provider.capacity[of];
      // A pool may grow again, and may have less than is in use.
      const isFixed = provider.kind !== "WORKER";
      if (isFixed && amount[of] > all) return `needs ${amount[of]} ${unit}, holds ${all} in all: it can never fit`;
      return `needs ${amount[of]} ${unit}, ${Math.max(0, all - reserved[of])} of ${all} are free`;
    },
  };
}

function kindNeeded({ handler, needsImage }: Wanted): ProviderKind {
  if (handler !== "") return "WORKER";
  return needsImage ? "DOCKER" : "PROCESS";
}

/** What a pool without workers will have, nobody knows; it is not well, rather than one that does not match. */
function isUnmanned({ provider }: Room): boolean {
  return provider.kind === "WORKER" && provider.workerGroups.length === 0;
}

/** Null when the text names no kind there is. */
export function kindNamed(text: string): ProviderKind | null {
  return providerKinds.find((kind) => kind === text.toUpperCase()) ?? null;
}

function sayHealth({ health, healthFailures, healthMessage }: Provider): string {
  if (health === "UNKNOWN" && healthFailures === 0) return "not probed yet";
  return `is ${health}${healthMessage === "" ? "" : `: ${healthMessage}`}`;
}

function sayKind(kind: ProviderKind, wanted: Wanted): string {
  const word = kind.toLowerCase();
  if (wanted.kind !== "" && wanted.kind.toUpperCase() !== kind) return `is ${word}, not ${quoted(wanted.kind)}`;
  if (wanted.handler !== "") return `is ${word}, a step with a handler runs on workers`;
  return wanted.needsImage
    ? `is ${word}, a step with an image needs containers`
    : `is ${word}, a step without an image runs as a process`;
}

function sayHandler(there: readonly string[], handler: string): string {
  const shown = there.slice(0, maxShown).map(quoted).join(", ");
  return `has no worker with the handler ${quoted(handler)}; it has: ${shown}${there.length > maxShown ? ", …" : ""}`;
}

/** `candidates` are the labels of what could run it otherwise. */
function sayLabels(candidates: readonly Labels[], handler: string, constraints: readonly LabelConstraint[]): string {
  const [labels = {}] = candidates;
  const failing = failingConstraint(constraints, labels);
  if (failing === null) return "passes";
  if (candidates.length > 1) {
    const all = constraints.slice(0, maxShown).map(sayConstraint).join(" and ");
    return `wants ${all}, has no such worker with the handler ${quoted(handler)}`;
  }
  const there = labelOf(labels, failing.key);
  return `wants ${sayConstraint(failing)}, has ${there === null ? "no such label" : quoted(there)}`;
}

function sayConstraint({ key, operator, values }: LabelConstraint): string {
  return `${quoted(key)} ${operator} ${values.slice(0, 4).map(quoted).join(", ")}`;
}

/** Users' words as they may stand in a message: bounded, and with nothing that could forge a line of a log. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}
