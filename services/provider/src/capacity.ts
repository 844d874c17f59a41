/**
 * Holding capacity and giving it back. Each call is one transaction of the same shape, whatever the size of its batch: lock the
 * providers, read, decide, write, append one fact per provider. The locks make the calls of a tenant follow one another, so that
 * what was free when a request was placed still is when it is written.
 */
import { type Db, inTransaction, type Pool } from "@capstan/postgres";
import type { CapacityAnswer } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { lostRace, repeatLostRaces } from "./lostRace.ts";
import { moveProviders } from "./moveProviders.ts";
import { type Placed, placeAll, type Unplaced } from "./placement.ts";
import type { Wanted } from "./placementFilters.ts";
import { giveBack, type Provider } from "./provider.ts";
import { heldAnswer, refusedAnswer, withdrawnAnswer } from "./providerProto.ts";
import { lockProvidersOf, lockTenantProviders } from "./providerStore.ts";
import {
  countByJobName,
  endReservations,
  findOverdue,
  findReservations,
  insertReservations,
  type KnownReservation,
  markReleased,
} from "./reservationStore.ts";

/** A request for capacity, checked and with its defaults. */
export interface CapacityRequest extends Wanted {
  readonly reservationId: string;
  readonly tenant: string;
  readonly jobId: string;
  readonly holdMs: number;
}

export interface Capacity {
  /** Answers in the order of the requests; the most urgent comes first. Idempotent by reservation id. */
  reserve(requests: readonly CapacityRequest[], traceparent: string | null): Promise<CapacityAnswer[]>;
  /** What `reserve` would answer at this moment to requests that it has never seen; holds nothing. */
  preview(requests: readonly CapacityRequest[]): Promise<CapacityAnswer[]>;
  /** Gives back how many were live until now. Idempotent; ids not known are marked as released. */
  release(reservationIds: readonly string[], traceparent: string | null): Promise<number>;
  /** Ends up to `limit` reservations that were not confirmed in time; gives back how many were found. */
  expire(limit: number): Promise<number>;
}

export function createCapacity(pool: Pool): Capacity {
  function end(ids: readonly string[], state: "RELEASED" | "EXPIRED", traceparent: string | null): Promise<number> {
    return repeatLostRaces(() => inTransaction(pool, (db) => endAll(db, ids, state, traceparent)));
  }

  return {
    async reserve(requests, traceparent) {
      if (requests.length === 0) return [];
      return repeatLostRaces(() => inTransaction(pool, (db) => reserveAll(db, requests, traceparent)));
    },
    async preview(requests) {
      if (requests.length === 0) return [];
      return inTransaction(pool, async (db) => {
        const tenants = [...new Set(requests.map(({ tenant }) => tenant))];
        const placed = await placeFresh(db, (await lockTenantProviders(db, tenants)).providers, requests);
        return requests.map(({ reservationId }) => answerOf(placed.get(reservationId)));
      });
    },
    async release(ids, traceparent) {
      return ids.length === 0 ? 0 : end([...new Set(ids)].sort(), "RELEASED", traceparent);
    },
    async expire(limit) {
      const overdue = await findOverdue(pool, limit);
      if (overdue.length > 0) await end(overdue, "EXPIRED", null);
      return overdue.length;
    },
  };
}

async function reserveAll(
  db: Db,
  requests: readonly CapacityRequest[],
  traceparent: string | null,
): Promise<CapacityAnswer[]> {
  const asked = new Map(requests.map((request) => [request.reservationId, request]));
  // On one connection the second statement runs after the first has its locks, and so sees all that it waited for.
  const [{ providers, now }, reservations] = await Promise.all([
    lockTenantProviders(db, [...new Set(requests.map(({ tenant }) => tenant))]),
    findReservations(db, [...asked.keys()]),
  ]);
  const known = new Map(reservations.map((there) => [there.id, there]));
  const fresh = [...asked.values()].filter(({ reservationId }) => !known.has(reservationId));
  const placed = await placeFresh(db, providers, fresh);
  const held = fresh.flatMap((request) => {
    const answer = placed.get(request.reservationId);
    return answer !== undefined && "provider" in answer ? [toReservation(request, answer)] : [];
  });
  if (held.length > 0) {
    const byProvider = Map.groupBy(held, ({ providerId }) => providerId);
    const moves = providers.flatMap((before) => {
      const reservations = byProvider.get(before.id);
      if (reservations === undefined) return [];
      const lastChosen = Math.max(...reservations.map(({ choice }) => choice));
      return [{ before, events: [{ type: "held", reservations, lastChosen } as const] }];
    });
    await Promise.all([insertReservations(db, held), moveProviders(db, moves, { now, traceparent })]);
  }
  const byId = new Map(providers.map((provider) => [provider.id, provider]));
  return requests.map(({ reservationId }) => {
    const there = known.get(reservationId);
    return there === undefined ? answerOf(placed.get(reservationId)) : repeated(there, byId);
  });
}

async function placeFresh(
  db: Db,
  providers: readonly Provider[],
  requests: readonly CapacityRequest[],
): Promise<ReadonlyMap<string, Placed | Unplaced>> {
  const spread = requests.filter(({ strategy }) => strategy === "SPREAD").map(({ jobName }) => jobName);
  const counts =
    spread.length === 0
      ? new Map()
      : await countByJobName(
          db,
          providers.map(({ id }) => id),
          [...new Set(spread)],
        );
  const placed = new Map<string, Placed | Unplaced>();
  for (const [tenant, wanted] of Map.groupBy(requests, (request) => request.tenant)) {
    const own = providers.filter((provider) => provider.tenant === tenant);
    for (const [index, answer] of placeAll(own, wanted, counts).entries()) {
      const request = wanted[index];
      if (request !== undefined) placed.set(request.reservationId, answer);
    }
  }
  return placed;
}

function toReservation(request: CapacityRequest, { provider, score, message, choice }: Placed) {
  const { reservationId: id, tenant, jobId, jobName, amount, holdMs } = request;
  return { id, tenant, providerId: provider.id, jobId, jobName, amount, holdMs, score, message, choice };
}

function answerOf(placed: Placed | Unplaced | undefined): CapacityAnswer {
  if (placed === undefined) throw new Error("a request was not placed");
  return "provider" in placed ? heldAnswer(placed.provider, placed) : refusedAnswer(placed);
}

function repeated(there: KnownReservation, providers: ReadonlyMap<string, Provider>): CapacityAnswer {
  if (there.providerId === null) return withdrawnAnswer("the reservation was released before it was made");
  const provider = providers.get(there.providerId);
  if (provider === undefined) return withdrawnAnswer("the reservation has ended and its provider was deleted since");
  return heldAnswer(provider, there);
}

async function endAll(
  db: Db,
  ids: readonly string[],
  state: "RELEASED" | "EXPIRED",
  traceparent: string | null,
): Promise<number> {
  const [{ providers, now }, ended] = await Promise.all([lockProvidersOf(db, ids), endReservations(db, ids, state)]);
  if (state === "RELEASED" && ended.length < ids.length) await markReleased(db, ids);
  const byProvider = Map.groupBy(ended, ({ providerId }) => providerId);
  const moves = providers.flatMap((before) => {
    const reservations = byProvider.get(before.id);
    byProvider.delete(before.id);
    const type = state === "RELEASED" ? "released" : "expired";
    return reservations === undefined ? [] : [{ before, events: giveBack(before, type, reservations) }];
  });
  // Made between the two statements, on a provider that is not locked: this time it will be found at once.
  if (byProvider.size > 0) throw lostRace();
  await moveProviders(db, moves, { now, traceparent });
  return ended.length;
}
