/** The provider context: placement and the life of a provider are the true ones; each call is one transaction. */
import type { CapacityAnswer, CapacityRequest } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { aProvider } from "../../services/provider/src/aProvider.ts";
import { placeAll } from "../../services/provider/src/placement.ts";
import type { Wanted } from "../../services/provider/src/placementFilters.ts";
import { apply, giveBack, type Provider, type Reservation } from "../../services/provider/src/provider.ts";
import type { Random } from "./scheduler.ts";
import type { Defect } from "./simulate.ts";

interface Held {
  readonly reservation: Reservation;
  /** Null: given back before it was made. */
  readonly providerId: string | null;
  state: "HELD" | "CONFIRMED" | "RELEASED" | "EXPIRED";
  expireMs: number;
}

export interface ProviderContext {
  readonly providers: ReadonlyMap<string, Provider>;
  readonly reservations: ReadonlyMap<string, Held>;
  reserve(requests: readonly CapacityRequest[]): { answers: CapacityAnswer[] };
  confirm(ids: readonly string[]): { expiredIds: string[] };
  release(ids: readonly string[]): { released: number };
  expire(): void;
  live(): readonly string[];
  /** What does not add up; called after every event. */
  check(): void;
}

interface Options {
  readonly clock: () => number;
  readonly random: Random;
  readonly violate: (what: string) => void;
  readonly has: (defect: Defect) => boolean;
}

export function createProviderContext({ clock, random, violate, has }: Options): ProviderContext {
  const providers = new Map<string, Provider>();
  for (const [index, kind] of (["PROCESS", "DOCKER"] as const).entries()) {
    const id = `01890000-0000-7000-8000-00000000000${index}`;
    const capacity = { slots: 1 + random.below(3), cpuMillis: 0, memoryMib: 0 };
    providers.set(id, aProvider({ id, name: kind.toLowerCase(), kind, capacity }));
  }
  const reservations = new Map<string, Held>();
  const isLive = ({ state }: Held) => state === "HELD" || state === "CONFIRMED";

  function end(held: Held, state: "RELEASED" | "EXPIRED"): void {
    const before = providers.get(held.providerId ?? "");
    if (before === undefined) return;
    held.state = state;
    if (has("given back is not counted")) return;
    const events = giveBack(before, state === "RELEASED" ? "released" : "expired", [held.reservation]);
    let after = before;
    for (const event of events) after = apply(after, event, new Date(clock()));
    providers.set(before.id, after);
  }

  function answerHeld(provider: Provider): CapacityAnswer {
    const { id: providerId, name: providerName, kind, endpoint } = provider;
    const value = { providerId, providerName, kind: `PROVIDER_KIND_${kind}` as const, endpoint, score: 1, message: "" };
    return { outcome: { $case: "held", value } };
  }

  function answerOne(request: CapacityRequest): CapacityAnswer {
    const { reservationId: id, jobId, jobName } = request;
    const there = reservations.get(id);
    if (there !== undefined && there.state !== "EXPIRED") {
      const provider = providers.get(there.providerId ?? "");
      if (provider !== undefined) return answerHeld(provider);
      const value = { reason: "REASON_OPERATOR" as const, message: "it was released before it was made", failures: [] };
      return { outcome: { $case: "refused", value } };
    }
    const amount = { slots: request.resources?.slots || 1, cpuMillis: 0, memoryMib: 0 };
    const wanted: Wanted = {
      ...{ jobName, amount, handler: "", providerName: "", kind: "", constraints: [], spreadLabel: "" },
      needsImage: request.needsImage,
      strategy: "LEAST_LOADED",
    };
    const [placed] = placeAll([...providers.values()], [wanted], new Map());
    if (placed === undefined || !("provider" in placed)) {
      const value = {
        reason: `REASON_${placed?.reason ?? "NO_CAPACITY"}` as const,
        message: placed?.message ?? "",
        failures: [],
      };
      return { outcome: { $case: "refused", value } };
    }
    const reservation = { id, jobId, amount };
    const before = placed.provider;
    const event = { type: "held", reservations: [reservation], lastChosen: placed.choice } as const;
    providers.set(before.id, apply(providers.get(before.id) ?? before, event, new Date(clock())));
    const expireMs = clock() + (request.hold?.seconds ?? 0) * 1_000;
    reservations.set(id, { reservation, providerId: before.id, state: "HELD", expireMs });
    return answerHeld(before);
  }

  return {
    providers,
    reservations,
    // One after the other: the batch of one is not a special case of the rule, and this is the same as together.
    reserve: (requests) => ({ answers: requests.map(answerOne) }),
    confirm(ids) {
      const known = ids.flatMap((id) => reservations.get(id) ?? []);
      for (const held of known) if (held.state === "HELD") held.state = "CONFIRMED";
      return { expiredIds: known.filter((held) => !isLive(held)).map(({ reservation }) => reservation.id) };
    },
    release(ids) {
      let released = 0;
      for (const id of ids) {
        const held = reservations.get(id);
        if (held !== undefined && isLive(held)) {
          end(held, "RELEASED");
          released += 1;
        } else if (held === undefined) {
          const reservation = { id, jobId: "", amount: { slots: 0, cpuMillis: 0, memoryMib: 0 } };
          reservations.set(id, { reservation, providerId: null, state: "RELEASED", expireMs: 0 });
        }
      }
      return { released };
    },
    expire() {
      for (const held of reservations.values())
        if (held.state === "HELD" && held.expireMs <= clock()) end(held, "EXPIRED");
    },
    live: () => [...reservations.values()].filter(isLive).map(({ reservation }) => reservation.id),
    check() {
      for (const provider of providers.values()) {
        const own = [...reservations.values()].filter((held) => held.providerId === provider.id && isLive(held));
        const slots = own.reduce((sum, { reservation }) => sum + reservation.amount.slots, 0);
        if (provider.reserved.slots !== slots)
          violate(`${provider.name} counts ${provider.reserved.slots}, not ${slots}`);
        if (slots > provider.capacity.slots) violate(`${provider.name} holds more than it has`);
      }
    },
  };
}
