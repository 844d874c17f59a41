/**
 * The life of a provider: what an operator wants of it, what probes saw of it, and how much of it is reserved. Every rule is
 * here and nothing here reads a clock, makes an id or does I/O.
 *
 *   ACTIVE ◀─▶ CORDONED
 *   ACTIVE, CORDONED ─▶ DRAINING ─▶ DISABLED      by itself, once the last reservation has ended
 *   any state, if empty ─▶ DISABLED               deactivated
 *   CORDONED, DRAINING, DISABLED ─▶ ACTIVE        activated
 *
 * Health stands beside the state and never moves it. Decide functions give back events; [] means it is already so.
 */
import { DomainError } from "@capstan/errors";
import type { Labels } from "@capstan/labels";
import type { Amount, ProviderKind, ProviderSpec, SpecChange } from "./providerSpec.ts";
import { areSameGroups, sayWorkers, slotsOf, type WorkerGroup } from "./workerGroups.ts";

export const providerStates = ["ACTIVE", "CORDONED", "DRAINING", "DISABLED"] as const;
export type ProviderState = (typeof providerStates)[number];

export const providerHealths = ["UNKNOWN", "HEALTHY", "DEGRADED", "UNHEALTHY"] as const;
export type ProviderHealth = (typeof providerHealths)[number];

export interface Provider {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly kind: ProviderKind;
  readonly state: ProviderState;
  readonly health: ProviderHealth;
  /** The engine's version, or what went wrong. */
  readonly healthMessage: string;
  /** Failed probes in a row; not counted past the threshold, so that a dead provider causes no writes. */
  readonly healthFailures: number;
  /** Since when it has this health; null while UNKNOWN. */
  readonly healthTime: Date | null;
  readonly capacity: Amount;
  readonly reserved: Amount;
  /** Reservations that are HELD or CONFIRMED. */
  readonly live: number;
  /** Reservations ever made on it, and how many of them were never confirmed. */
  readonly made: number;
  readonly expired: number;
  /** Grows over all providers of a tenant with each choice by placement; 0: never chosen. */
  readonly lastChosen: number;
  readonly labels: Labels;
  readonly endpoint: string;
  /** Of a worker pool, in their one form; empty otherwise. */
  readonly workerGroups: readonly WorkerGroup[];
  /** When a worker pool was seen as it is; null for any other kind. */
  readonly poolTime: Date | null;
  /** Changed by operators only; the etag. */
  readonly version: number;
  /** The number of its last fact. */
  readonly sequence: number;
  readonly createTime: Date;
  readonly updateTime: Date;
}

/** Capacity held on a provider for one execution, as far as facts tell of it. */
export interface Reservation {
  readonly id: string;
  readonly jobId: string;
  readonly amount: Amount;
}

export type ProviderEvent =
  | {
      readonly type: "registered" | "activated" | "cordoned" | "draining" | "drained" | "deactivated" | "deleted";
    }
  | { readonly type: "updated"; readonly change: SpecChange }
  /** The workers of a pool are others than before; its fact is `updated`. */
  | { readonly type: "regrouped"; readonly groups: readonly WorkerGroup[]; readonly time: Date }
  | {
      readonly type: "health_changed";
      readonly health: ProviderHealth;
      readonly message: string;
      readonly failures: number;
    }
  /** What a probe leaves behind while the health stays: saved, but no fact. */
  | { readonly type: "probed"; readonly message: string; readonly failures: number }
  | { readonly type: "held"; readonly reservations: readonly Reservation[]; readonly lastChosen: number }
  | { readonly type: "released" | "expired"; readonly reservations: readonly Reservation[] };

const anyState = providerStates;

/** The states each event may happen in. The diagram above and the exhaustive test follow this table. */
export const allowedFrom = {
  registered: [],
  activated: ["CORDONED", "DRAINING", "DISABLED"],
  cordoned: ["ACTIVE"],
  draining: ["ACTIVE", "CORDONED"],
  drained: ["DRAINING"],
  deactivated: ["ACTIVE", "CORDONED", "DRAINING"],
  deleted: anyState,
  updated: anyState,
  regrouped: anyState,
  health_changed: anyState,
  probed: anyState,
  held: ["ACTIVE"],
  // A DISABLED provider is empty, so nothing can end on it.
  released: ["ACTIVE", "CORDONED", "DRAINING"],
  expired: ["ACTIVE", "CORDONED", "DRAINING"],
} as const satisfies Record<ProviderEvent["type"], readonly ProviderState[]>;

const byOperator: readonly ProviderEvent["type"][] = ["activated", "cordoned", "draining", "deactivated", "updated"];

/** The provider after the event, or FAILED_PRECONDITION if the event cannot happen in its state. */
export function apply(provider: Provider, event: ProviderEvent, now: Date): Provider {
  const from: readonly ProviderState[] = allowedFrom[event.type];
  if (!from.includes(provider.state)) throw wrongState(provider, event.type);
  const isByOperator = byOperator.includes(event.type);
  return {
    ...provider,
    ...changeBy(provider, event, now),
    version: provider.version + (isByOperator ? 1 : 0),
    updateTime: isByOperator ? now : provider.updateTime,
    sequence: provider.sequence + (event.type === "probed" ? 0 : 1),
  };
}

function changeBy(provider: Provider, event: ProviderEvent, now: Date): Partial<Provider> {
  switch (event.type) {
    case "activated":
      return { state: "ACTIVE" };
    case "cordoned":
      return { state: "CORDONED" };
    case "draining":
      return { state: "DRAINING" };
    case "drained":
    case "deactivated":
      return { state: "DISABLED" };
    case "updated":
      return event.change;
    case "regrouped":
      return {
        capacity: { ...provider.capacity, slots: slotsOf(event.groups) },
        workerGroups: event.groups,
        poolTime: event.time,
        healthMessage: sayWorkers(event.groups),
      };
    case "health_changed":
      return { health: event.health, healthMessage: event.message, healthFailures: event.failures, healthTime: now };
    case "probed":
      return { healthMessage: event.message, healthFailures: event.failures };
    case "held":
      return { ...withReserved(provider, event.reservations, 1), lastChosen: event.lastChosen };
    case "released":
    case "expired":
      return withReserved(provider, event.reservations, -1, event.type);
    case "registered":
    case "deleted":
      return {};
  }
}

function withReserved(
  { reserved, live, made, expired }: Provider,
  reservations: readonly Reservation[],
  sign: 1 | -1,
  end?: "released" | "expired",
): Partial<Provider> {
  const total = (of: keyof Amount) => reservations.reduce((sum, { amount }) => sum + amount[of], 0);
  return {
    reserved: {
      slots: reserved.slots + sign * total("slots"),
      cpuMillis: reserved.cpuMillis + sign * total("cpuMillis"),
      memoryMib: reserved.memoryMib + sign * total("memoryMib"),
    },
    live: live + sign * reservations.length,
    made: made + (sign === 1 ? reservations.length : 0),
    expired: expired + (end === "expired" ? reservations.length : 0),
  };
}

/** Takes new work again, from any state. */
export function activate({ state }: Provider): readonly ProviderEvent[] {
  return state === "ACTIVE" ? [] : [{ type: "activated" }];
}

/** Takes back a cordon and nothing else: a provider that drains or is disabled is refused. */
export function uncordon(provider: Provider): readonly ProviderEvent[] {
  if (provider.state === "ACTIVE") return [];
  if (provider.state !== "CORDONED") throw wrongState(provider, "uncordoned");
  return [{ type: "activated" }];
}

export function cordon({ state }: Provider): readonly ProviderEvent[] {
  return state === "CORDONED" ? [] : [{ type: "cordoned" }];
}

/** DISABLED counts as done, because that is where an earlier drain has ended. An empty provider is drained at once. */
export function drain({ state, live }: Provider): readonly ProviderEvent[] {
  if (state === "DRAINING" || state === "DISABLED") return [];
  return live === 0 ? [{ type: "draining" }, { type: "drained" }] : [{ type: "draining" }];
}

export function deactivate(provider: Provider): readonly ProviderEvent[] {
  if (provider.state === "DISABLED") return [];
  assertEmpty(provider, "deactivated");
  return [{ type: "deactivated" }];
}

/** The end of a provider; refused while reservations live on it. */
export function forget(provider: Provider): readonly ProviderEvent[] {
  assertEmpty(provider, "deleted");
  return [{ type: "deleted" }];
}

/** Refuses another etag with ABORTED, and a capacity under what is reserved with FAILED_PRECONDITION. Etag "" matches any. */
export function update(provider: Provider, change: SpecChange, etag: string): readonly ProviderEvent[] {
  if (etag !== "" && etag !== etagOf(provider)) {
    throw new DomainError({
      code: "ABORTED",
      reason: "PROVIDER_CHANGED",
      message: `provider ${provider.name} has changed since it was read; read it again`,
      metadata: { etag: etagOf(provider) },
    });
  }
  if (change.capacity !== undefined) assertHolds(change.capacity, provider);
  return isSame(provider, { ...provider, ...change }) ? [] : [{ type: "updated", change }];
}

export function etagOf({ version }: Provider): string {
  return String(version);
}

/** Whether registering `spec` again means the provider that is there. */
export function isSame(provider: ProviderSpec, spec: ProviderSpec): boolean {
  return (
    provider.kind === spec.kind &&
    provider.endpoint === spec.endpoint &&
    provider.capacity.slots === spec.capacity.slots &&
    provider.capacity.cpuMillis === spec.capacity.cpuMillis &&
    provider.capacity.memoryMib === spec.capacity.memoryMib &&
    Object.keys(provider.labels).length === Object.keys(spec.labels).length &&
    Object.entries(spec.labels).every(
      ([key, value]) => Object.hasOwn(provider.labels, key) && provider.labels[key] === value,
    )
  );
}

/** Some of a provider's reservations have ended; the last one to end on a DRAINING provider disables it. */
export function giveBack(
  { state, live }: Provider,
  type: "released" | "expired",
  reservations: readonly Reservation[],
): readonly ProviderEvent[] {
  const ended: ProviderEvent = { type, reservations };
  return state === "DRAINING" && live === reservations.length ? [ended, { type: "drained" }] : [ended];
}

/**
 * What a probe changes: good makes it HEALTHY, failures make it DEGRADED until as many in a row as `threshold` make it
 * UNHEALTHY. One that was never seen good stays UNKNOWN below the threshold, because DEGRADED takes work. A worker pool has no
 * probes.
 */
export function observe(
  provider: Provider,
  { isGood, message }: { readonly isGood: boolean; readonly message: string },
  threshold: number,
): readonly ProviderEvent[] {
  if (provider.kind === "WORKER") return [];
  const failures = isGood ? 0 : Math.min(provider.healthFailures + 1, threshold);
  const health = healthAfter(provider.health, failures, threshold);
  if (health !== provider.health) return [{ type: "health_changed", health, message, failures }];
  if (message === provider.healthMessage && failures === provider.healthFailures) return [];
  return [{ type: "probed", message, failures }];
}

/**
 * What a report of a pool's workers changes: nothing when it is older than the last one that did, or tells the same. One of the same
 * time counts, because messages carry milliseconds and workers come faster. A pool is HEALTHY while it has a worker. It loses slots at
 * once, also those in use.
 */
export function regroup(provider: Provider, groups: readonly WorkerGroup[], time: Date): readonly ProviderEvent[] {
  const isStale = provider.poolTime !== null && time < provider.poolTime;
  if (isStale || areSameGroups(groups, provider.workerGroups)) return [];
  const health = groups.length === 0 ? "UNHEALTHY" : "HEALTHY";
  const regrouped: ProviderEvent = { type: "regrouped", groups, time };
  if (health === provider.health) return [regrouped];
  return [regrouped, { type: "health_changed", health, message: sayWorkers(groups), failures: 0 }];
}

function healthAfter(health: ProviderHealth, failures: number, threshold: number): ProviderHealth {
  if (failures === 0) return "HEALTHY";
  if (failures >= threshold) return "UNHEALTHY";
  return health === "HEALTHY" ? "DEGRADED" : health;
}

function assertEmpty({ name, live }: Provider, verb: string): void {
  if (live === 0) return;
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "PROVIDER_IN_USE",
    message: `provider ${name} holds ${live} live reservations and cannot be ${verb}; drain it first`,
    metadata: { provider: name, liveReservations: String(live) },
  });
}

function assertHolds(capacity: Amount, { name, reserved }: Provider): void {
  const short = [
    capacity.slots < reserved.slots && `${reserved.slots} slots`,
    capacity.cpuMillis > 0 && capacity.cpuMillis < reserved.cpuMillis && `${reserved.cpuMillis} thousandths of a CPU`,
    capacity.memoryMib > 0 && capacity.memoryMib < reserved.memoryMib && `${reserved.memoryMib} MiB of memory`,
  ].filter((part) => part !== false);
  if (short.length === 0) return;
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "CAPACITY_IN_USE",
    message: `provider ${name} has ${short.join(", ")} reserved; its capacity cannot be less`,
    metadata: { provider: name },
  });
}

function wrongState({ name, state }: Provider, verb: string): DomainError {
  return new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "WRONG_STATE",
    message: `provider ${name} is ${state}; it cannot be ${verb}`,
    metadata: { provider: name, state },
  });
}
