/** Providers and reservations as messages and facts. Domain words are the enum names without their prefix, so both sides type-check. */
import { type Fact, uuidv7 } from "@capstan/postgres";
import type {
  Capacity,
  WorkerGroup as GroupMessage,
  ProviderKind as KindMessage,
  Provider as ProviderMessage,
} from "@capstan/proto/capstan/provider/v1/provider.ts";
import {
  ProviderEvent as ProviderEventMessage,
  ReservationEvent,
} from "@capstan/proto/capstan/provider/v1/provider_event.ts";
import type { CapacityAnswer, ProbeTarget } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import type { Unplaced } from "./placement.ts";
import { etagOf, type Provider, type ProviderEvent, type Reservation } from "./provider.ts";
import { type Amount, type ProviderKind, providerKinds } from "./providerSpec.ts";
import type { WorkerGroup } from "./workerGroups.ts";

const maxInt32 = 2_147_483_647;
/** Of worker groups in a fact, beside labels of up to 64 KiB; a fact has at most 480 KiB. */
const maxGroupBytes = 256 * 1_024;

/** Null when it is not given or not known. */
export function kindFromMessage(message: KindMessage): ProviderKind | null {
  return providerKinds.find((kind) => message === `PROVIDER_KIND_${kind}`) ?? null;
}

/** Sums of what a provider does not count may pass what the message can say; they are shown as its greatest number. */
export function toCapacity({ slots, cpuMillis, memoryMib }: Amount): Capacity {
  return { slots, cpuMillis: Math.min(cpuMillis, maxInt32), memoryMib: Math.min(memoryMib, maxInt32) };
}

export function toMessage(provider: Provider): ProviderMessage {
  return {
    id: provider.id,
    tenant: provider.tenant,
    name: provider.name,
    kind: `PROVIDER_KIND_${provider.kind}`,
    state: `PROVIDER_STATE_${provider.state}`,
    health: `PROVIDER_HEALTH_${provider.health}`,
    healthMessage: provider.healthMessage,
    healthTime: provider.healthTime ?? undefined,
    capacity: toCapacity(provider.capacity),
    reserved: toCapacity(provider.reserved),
    labels: { ...provider.labels },
    endpoint: provider.endpoint,
    createTime: provider.createTime,
    updateTime: provider.updateTime,
    etag: etagOf(provider),
    workerGroups: provider.workerGroups.map(toGroupMessage),
  };
}

function toGroupMessage({ handlers, labels, workers, slots }: WorkerGroup): GroupMessage {
  return { handlers: [...handlers], labels: { ...labels }, workers, slots };
}

export function toProbeTarget({ id, name, kind, endpoint }: Provider): ProbeTarget {
  return { providerId: id, name, kind: `PROVIDER_KIND_${kind}`, endpoint };
}

export function heldAnswer(provider: Provider, { score, message }: { score: number; message: string }): CapacityAnswer {
  const { id, name, kind, endpoint } = provider;
  const value = {
    providerId: id,
    providerName: name,
    kind: `PROVIDER_KIND_${kind}`,
    endpoint,
    score,
    message,
  } as const;
  return { outcome: { $case: "held", value } };
}

export function refusedAnswer({ reason, message, failures }: Unplaced): CapacityAnswer {
  return { outcome: { $case: "refused", value: { reason: `REASON_${reason}`, message, failures: [...failures] } } };
}

/** The answer for a reservation that was released before it was made, or whose provider is gone. */
export function withdrawnAnswer(message: string): CapacityAnswer {
  return { outcome: { $case: "refused", value: { reason: "REASON_OPERATOR", message, failures: [] } } };
}

/** The fact of an event, or null for what is saved without one. `after` is the provider right after the event. */
export function factOf(
  before: Provider,
  event: ProviderEvent,
  after: Provider,
  traceparent: string | null,
): Fact | null {
  if (event.type === "probed") return null;
  const isOfReservations = event.type === "held" || event.type === "released" || event.type === "expired";
  return {
    id: uuidv7(),
    tenant: after.tenant,
    noun: isOfReservations ? "reservation" : "provider",
    event: event.type === "regrouped" ? "updated" : event.type,
    aggregateId: after.id,
    sequence: after.sequence,
    correlationId: isOfReservations ? commonJob(event.reservations) : "",
    causationId: "",
    traceparent,
    data: isOfReservations
      ? reservationData(after, event.type, event.reservations)
      : providerData(before, event, after),
    isTerminal: event.type === "deleted",
  };
}

/** The job that all of them are for; "" when they are for several. */
function commonJob([first, ...others]: readonly Reservation[]): string {
  return first !== undefined && others.every(({ jobId }) => jobId === first.jobId) ? first.jobId : "";
}

function reservationData(
  { id, name }: Provider,
  type: "held" | "released" | "expired",
  reservations: readonly Reservation[],
): object {
  const state = { held: "HELD", released: "RELEASED", expired: "EXPIRED" } as const;
  const message: ReservationEvent = {
    providerId: id,
    providerName: name,
    reservations: reservations.map((reservation) => ({
      id: reservation.id,
      jobId: reservation.jobId,
      state: `RESERVATION_STATE_${state[type]}`,
      amount: toCapacity(reservation.amount),
    })),
  };
  return ReservationEvent.toJSON(message) as object;
}

/** The endpoint is left out: where an engine listens is for those who may call it. So are groups that would fill the fact. */
function providerData(before: Provider, { type }: ProviderEvent, after: Provider): object {
  const groupBytes = Buffer.byteLength(JSON.stringify(after.workerGroups));
  const workerGroups = groupBytes > maxGroupBytes ? [] : after.workerGroups;
  const message: ProviderEventMessage = {
    provider: toMessage({ ...after, endpoint: "", workerGroups }),
    oldHealth: type === "health_changed" ? `PROVIDER_HEALTH_${before.health}` : "PROVIDER_HEALTH_UNSPECIFIED",
  };
  return ProviderEventMessage.toJSON(message) as object;
}
