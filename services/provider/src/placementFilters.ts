/**
 * What a provider must pass to be chosen, as a table in the order in which it is asked. The order is part of the contract: the
 * first filter that fails is the one that users read, and one about capacity means that everything before it has passed.
 */
import type { Provider } from "./provider.ts";
import { type Amount, labelOf, type ProviderKind, providerKinds } from "./providerSpec.ts";

export type Strategy = "LEAST_LOADED" | "BIN_PACKING" | "ROUND_ROBIN" | "SPREAD";

export interface LabelConstraint {
  readonly key: string;
  /** A word of LabelOperator without its prefix; one that is not known passes nowhere. */
  readonly operator: string;
  readonly values: readonly string[];
}

/** What one execution needs, and where it may be. */
export interface Wanted {
  readonly jobName: string;
  readonly amount: Amount;
  /** With an image it needs a kind that runs containers; without one, a kind that does not. */
  readonly needsImage: boolean;
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
}

export type FilterName = "STATE" | "HEALTH" | "KIND" | "NAME" | "LABELS" | "SLOTS" | "CPU" | "MEMORY";

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
      runsContainers(provider.kind) === wanted.needsImage &&
      (wanted.kind === "" || wanted.kind.toUpperCase() === provider.kind),
    say: ({ provider }, wanted) => sayKind(provider.kind, wanted),
  },
  {
    name: "NAME",
    about: "match",
    passes: ({ provider }, { providerName }) => providerName === "" || providerName === provider.name,
    say: (_, { providerName }) => `is not ${quoted(providerName)}`,
  },
  {
    name: "LABELS",
    about: "match",
    passes: ({ provider }, { constraints }) => constraints.every((constraint) => holds(constraint, provider)),
    say: ({ provider }, { constraints }) => sayLabels(provider, constraints),
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
      return all === 0 || reserved[of] + amount[of] <= all;
    },
    say: ({ provider, reserved }, { amount }) => {
      const all = provider.capacity[of];
      if (amount[of] > all) return `needs ${amount[of]} ${unit}, holds ${all} in all: it can never fit`;
      return `needs ${amount[of]} ${unit}, ${all - reserved[of]} of ${all} are free`;
    },
  };
}

function runsContainers(kind: ProviderKind): boolean {
  return kind === "DOCKER";
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
  return wanted.needsImage
    ? `is ${word}, a step with an image needs containers`
    : `is ${word}, a step without an image runs as a process`;
}

function sayLabels(provider: Provider, constraints: readonly LabelConstraint[]): string {
  const failing = constraints.find((constraint) => !holds(constraint, provider));
  if (failing === undefined) return "passes";
  const there = labelOf(provider.labels, failing.key);
  const wanted = `${failing.operator} ${failing.values.slice(0, 4).map(quoted).join(", ")}`;
  return `wants ${quoted(failing.key)} ${wanted}, has ${there === null ? "no such label" : quoted(there)}`;
}

function holds({ key, operator, values }: LabelConstraint, { labels }: Provider): boolean {
  const label = labelOf(labels, key);
  const [first = ""] = values;
  switch (operator) {
    case "EQ":
      return label === first;
    case "NE":
      return label !== first;
    case "IN":
      return label !== null && values.includes(label);
    case "NOT_IN":
      return label === null || !values.includes(label);
    case "GT":
      return numberOf(label) > numberOf(first);
    case "LT":
      return numberOf(label) < numberOf(first);
    default:
      return false;
  }
}

/** NaN for what is not a number, which is neither greater nor less than anything. */
function numberOf(text: string | null): number {
  return text === null || text.trim() === "" ? Number.NaN : Number(text);
}

/** Users' words as they may stand in a message: bounded, and with nothing that could forge a line of a log. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}
