/**
 * What the orchestrator may ask of capacity, from messages to our types. Only what cannot be stored is refused, and then the whole
 * call, because a batch must not stall on one job: a placement nobody can satisfy is answered per request instead.
 */
import { type FieldViolation, invalid } from "@capstan/errors";
import { constraintsOf } from "@capstan/labels";
import type { Placement } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { CapacityRequest as RequestMessage } from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import type { CapacityRequest } from "./capacity.ts";
import type { Strategy } from "./placementFilters.ts";
import { hasControlCharacters, isUuid } from "./providerSpec.ts";

const maxBatch = 1_000;
const maxShown = 20;
const maxHoldMs = 86_400_000;
const defaultHoldMs = 60_000;
const maxJobNameLength = 128;
// It becomes a token of NATS subjects.
const tenantPattern = /^[a-z0-9_-]{1,63}$/;

const strategies = {
  PLACEMENT_STRATEGY_UNSPECIFIED: "LEAST_LOADED",
  PLACEMENT_STRATEGY_LEAST_LOADED: "LEAST_LOADED",
  PLACEMENT_STRATEGY_BIN_PACKING: "BIN_PACKING",
  PLACEMENT_STRATEGY_ROUND_ROBIN: "ROUND_ROBIN",
  PLACEMENT_STRATEGY_SPREAD: "SPREAD",
  UNRECOGNIZED: "LEAST_LOADED",
} as const satisfies Record<Placement["strategy"], Strategy>;

/** The requests with their defaults: one slot, held for a minute. Refuses with every bad field of every request. */
export function readCapacityRequests(messages: readonly RequestMessage[]): readonly CapacityRequest[] {
  assertBatch("requests", messages);
  refuseIfAny(messages.flatMap((message, index) => checkRequest(message, `requests[${index}]`)));
  return messages.map(toRequest);
}

/** Ids in the form in which the database gives them back. Refuses what is none. */
export function readIds(field: string, ids: readonly string[]): readonly string[] {
  assertBatch(field, ids);
  refuseIfAny(ids.flatMap((id, index) => checkId(id, `${field}[${index}]`)));
  return ids.map((id) => id.toLowerCase());
}

/** Whether it could be a tenant. */
export function isTenant(text: string): boolean {
  return tenantPattern.test(text);
}

function assertBatch(field: string, batch: readonly unknown[]): void {
  if (batch.length <= maxBatch) return;
  throw invalid([{ field, description: `has ${batch.length} entries; the limit is ${maxBatch}` }]);
}

function refuseIfAny(violations: readonly FieldViolation[]): void {
  if (violations.length > 0) throw invalid(violations.slice(0, maxShown));
}

function checkId(id: string, field: string): readonly FieldViolation[] {
  return isUuid(id.toLowerCase()) ? [] : [{ field, description: "must be a UUID" }];
}

function checkRequest(message: RequestMessage, at: string): readonly FieldViolation[] {
  const { reservationId, jobId, tenant, jobName, resources, hold } = message;
  const refuseIf = (isBad: boolean, field: string, description: string) =>
    isBad ? [{ field: `${at}.${field}`, description }] : [];
  const holdMs = durationMs(hold);
  return [
    ...checkId(reservationId, `${at}.reservation_id`),
    ...checkId(jobId, `${at}.job_id`),
    ...refuseIf(!isTenant(tenant), "tenant", `must match ${tenantPattern.source}`),
    ...refuseIf(jobName.length > maxJobNameLength, "job_name", `has more than ${maxJobNameLength} characters`),
    ...refuseIf(hasControlCharacters(jobName), "job_name", "must not contain control characters"),
    ...refuseIf((resources?.slots ?? 0) < 0, "resources.slots", "must not be negative"),
    ...refuseIf((resources?.cpuMillis ?? 0) < 0, "resources.cpu_millis", "must not be negative"),
    ...refuseIf((resources?.memoryMib ?? 0) < 0, "resources.memory_mib", "must not be negative"),
    ...refuseIf(!(holdMs >= 0 && holdMs <= maxHoldMs), "hold", `must be 0 to ${maxHoldMs / 1_000} s`),
  ];
}

function toRequest({ placement, resources, hold, ...message }: RequestMessage): CapacityRequest {
  return {
    reservationId: message.reservationId.toLowerCase(),
    tenant: message.tenant,
    jobId: message.jobId.toLowerCase(),
    jobName: message.jobName,
    amount: {
      slots: resources?.slots || 1,
      cpuMillis: resources?.cpuMillis ?? 0,
      memoryMib: resources?.memoryMib ?? 0,
    },
    needsImage: message.needsImage,
    handler: message.handler,
    providerName: placement?.provider ?? "",
    kind: placement?.kind ?? "",
    constraints: constraintsOf(placement?.constraints ?? []),
    strategy: strategies[placement?.strategy ?? "PLACEMENT_STRATEGY_UNSPECIFIED"],
    spreadLabel: placement?.spreadLabel ?? "",
    holdMs: durationMs(hold) || defaultHoldMs,
  };
}

/** 0 if absent. */
export function durationMs(duration: Duration | undefined): number {
  return duration === undefined ? 0 : duration.seconds * 1_000 + duration.nanos / 1_000_000;
}
