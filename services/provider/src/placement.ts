/**
 * Choosing a provider. A batch is placed in its order over a working copy of the providers, so that no batch takes more than
 * there is, and the next request sees what the one before it has taken. Pure: the caller holds the rows locked meanwhile.
 */
import { labelOf } from "@capstan/labels";
import {
  type Filter,
  filters,
  firstFailing,
  kindNamed,
  quoted,
  type Room,
  roomOf,
  type Strategy,
  type Wanted,
} from "./placementFilters.ts";
import type { Provider } from "./provider.ts";
import { providerKinds } from "./providerSpec.ts";

/** A provider was chosen. */
export interface Placed {
  readonly provider: Provider;
  /** From 0 to 1 and comparable within a strategy only; the higher the better. */
  readonly score: number;
  readonly message: string;
  /** The provider's `lastChosen` from now on. */
  readonly choice: number;
}

/** No provider passes. */
export interface Unplaced {
  readonly reason: "NO_PROVIDER_MATCHES" | "PROVIDER_UNHEALTHY" | "NO_CAPACITY";
  readonly message: string;
  /** The first filter each provider fails, the nearest misses first; at most 20. */
  readonly failures: readonly { readonly providerName: string; readonly filter: string; readonly message: string }[];
}

/** Live reservations by job name and provider id; what SPREAD counts. */
type SpreadCounts = ReadonlyMap<string, ReadonlyMap<string, number>>;

const maxFailures = 20;
const maxFailuresInMessage = 5;

/** Places requests of one tenant on its providers, in order. `counts` is only looked at for SPREAD. */
export function placeAll(
  providers: readonly Provider[],
  requests: readonly Wanted[],
  counts: SpreadCounts,
): readonly (Placed | Unplaced)[] {
  const rooms = [...providers].sort(byName).map(roomOf);
  const spread = new Map([...counts].map(([jobName, byProvider]) => [jobName, new Map(byProvider)]));
  let lastChoice = rooms.reduce((highest, { lastChosen }) => Math.max(highest, lastChosen), 0);
  return requests.map((wanted) => {
    const passing = rooms.filter((room) => firstFailing(room, wanted) === null);
    const byStrategy = strategies[wanted.strategy](wanted, rooms, spread.get(wanted.jobName) ?? new Map());
    const room = best(passing, byStrategy);
    if (room === null) return refusal(rooms, wanted);
    const placed = { provider: room.provider, ...byStrategy.explain(room), choice: ++lastChoice };
    take(room, wanted, placed.choice);
    count(spread, wanted.jobName, room.provider.id);
    return placed;
  });
}

/** A strategy with one request in mind: the room of the lowest rank is chosen, then the least loaded, then by name. */
interface Ranking {
  rank(room: Room): number;
  explain(room: Room): { readonly score: number; readonly message: string };
}

type RankingFor = (wanted: Wanted, rooms: readonly Room[], counts: ReadonlyMap<string, number>) => Ranking;

const strategies: Record<Strategy, RankingFor> = {
  LEAST_LOADED: () => ({
    rank: load,
    explain: (room) => ({ score: 1 - load(room), message: `least loaded: ${percent(load(room))} in use` }),
  }),
  BIN_PACKING: () => ({
    rank: (room) => -load(room),
    explain: (room) => ({ score: load(room), message: `fullest that fits: ${percent(load(room))} in use` }),
  }),
  ROUND_ROBIN: () => ({
    rank: ({ lastChosen }) => lastChosen,
    explain: () => ({ score: 1, message: "chosen longest ago" }),
  }),
  SPREAD: ({ jobName, spreadLabel }, rooms, counts) => {
    const groupOf = ({ provider }: Room) =>
      spreadLabel === "" ? provider.id : (labelOf(provider.labels, spreadLabel) ?? "");
    const inGroup = new Map<string, number>();
    for (const room of rooms) {
      const group = groupOf(room);
      inGroup.set(group, (inGroup.get(group) ?? 0) + (counts.get(room.provider.id) ?? 0));
    }
    const rank = (room: Room) => inGroup.get(groupOf(room)) ?? 0;
    const where = spreadLabel === "" ? "here" : `with its ${quoted(spreadLabel)}`;
    return {
      rank,
      explain: (room) => ({ score: 1 / (1 + rank(room)), message: `${rank(room)} of ${quoted(jobName)} run ${where}` }),
    };
  },
};

function best(passing: readonly Room[], { rank }: Ranking): Room | null {
  let chosen: Room | null = null;
  let lowest = Number.POSITIVE_INFINITY;
  for (const room of passing) {
    const value = rank(room);
    if (chosen === null || value < lowest || (value === lowest && load(room) < load(chosen))) {
      chosen = room;
      lowest = value;
    }
  }
  return chosen;
}

/** The share in use of what is scarcest, from 0 to 1. */
function load({ provider: { capacity }, reserved }: Room): number {
  const share = (used: number, all: number) => (all === 0 ? 0 : used / all);
  return Math.max(
    share(reserved.slots, capacity.slots),
    share(reserved.cpuMillis, capacity.cpuMillis),
    share(reserved.memoryMib, capacity.memoryMib),
  );
}

function refusal(rooms: readonly Room[], wanted: Wanted): Unplaced {
  const misses = rooms
    .map((room) => ({ room, filter: firstFailing(room, wanted) }))
    .filter((miss): miss is { room: Room; filter: Filter } => miss.filter !== null)
    .sort((a, b) => filters.indexOf(b.filter) - filters.indexOf(a.filter));
  const reason = reasonOf(misses, wanted);
  const failures = misses.slice(0, maxFailures).map(({ room, filter }) => ({
    providerName: room.provider.name,
    filter: filter.name,
    message: filter.say(room, wanted),
  }));
  const shown = failures.slice(0, maxFailuresInMessage).map((failure) => `${failure.providerName} ${failure.message}`);
  const more = misses.length - shown.length;
  const list = [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
  return { reason, message: unheardOf(rooms, wanted) ?? `${summaries[reason]}: ${list}`, failures };
}

const summaries = {
  NO_CAPACITY: "every provider that matches is full",
  PROVIDER_UNHEALTHY: "no provider that matches is healthy",
  NO_PROVIDER_MATCHES: "no provider matches",
} as const satisfies Record<Unplaced["reason"], string>;

function reasonOf(misses: readonly { room: Room; filter: Filter }[], wanted: Wanted): Unplaced["reason"] {
  if (misses.some(({ filter }) => filter.about === "capacity")) return "NO_CAPACITY";
  const matching = filters.filter(({ about }) => about === "match");
  const isUnwell = ({ room, filter }: { room: Room; filter: Filter }) =>
    filter.about === "health" && matching.every((other) => other.passes(room, wanted));
  return misses.some(isUnwell) ? "PROVIDER_UNHEALTHY" : "NO_PROVIDER_MATCHES";
}

/** A request for what does not exist is answered with what does; null when what it names is there. */
function unheardOf(rooms: readonly Room[], { providerName, kind }: Wanted): string | null {
  if (rooms.length === 0) return "no provider is registered";
  const there = rooms.slice(0, maxFailures).map(({ provider }) => `${provider.name} (${provider.kind.toLowerCase()})`);
  const list = `there are: ${there.join(", ")}${rooms.length > there.length ? ", …" : ""}`;
  if (providerName !== "" && !rooms.some(({ provider }) => provider.name === providerName)) {
    return `no provider is named ${quoted(providerName)}; ${list}`;
  }
  if (kind === "" || kindNamed(kind) !== null) return null;
  const kinds = new Intl.ListFormat("en-GB", { type: "disjunction" }).format(
    providerKinds.map((known) => known.toLowerCase()),
  );
  return `${quoted(kind)} is no kind of provider, a kind is ${kinds}; ${list}`;
}

function take(room: Room, { amount }: Wanted, choice: number): void {
  room.reserved.slots += amount.slots;
  room.reserved.cpuMillis += amount.cpuMillis;
  room.reserved.memoryMib += amount.memoryMib;
  room.lastChosen = choice;
}

function count(spread: Map<string, Map<string, number>>, jobName: string, providerId: string): void {
  const byProvider = spread.get(jobName) ?? new Map<string, number>();
  byProvider.set(providerId, (byProvider.get(providerId) ?? 0) + 1);
  spread.set(jobName, byProvider);
}

function byName(a: Provider, b: Provider): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
