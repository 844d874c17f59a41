/**
 * What a worker says of itself when it connects, and the limits of what may be said on its connection. The limits are those that
 * the comments of the protos promise.
 */
import { type FieldViolation, invalid } from "@capstan/errors";
import { checkLabels } from "@capstan/labels";
import type { Register } from "@capstan/proto/capstan/execution/v1/worker_service.ts";

/** A worker as it registered; never changes while it lives. */
export interface Registration {
  /** UUID it made for itself. */
  readonly id: string;
  readonly tenant: string;
  readonly pool: string;
  readonly handlers: ReadonlySet<string>;
  readonly slots: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly sdk: string;
  readonly host: string;
}

/** Bytes of an input or a result as JSON at most. */
export const maxPayloadBytes = 256 * 1024;
/** Items of one kind in one message at most. */
export const maxItems = 1_000;
export const maxLogBytes = 256 * 1024;
export const maxMessageLength = 2_000;
export const maxProgressLength = 256;

const maxSlots = 10_000;
const maxHandlers = 256;
export const maxHeld = 10_000;
const maxSdkLength = 64;
const maxHostLength = 128;

const uuidPattern = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/;
const poolPattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const handlerPattern = /^[a-zA-Z0-9]([a-zA-Z0-9._-]{0,126}[a-zA-Z0-9])?$/;

/** The registration in our words; refuses with every bad field. */
export function readRegister(register: Register | undefined, tenant: string): Registration {
  if (register === undefined) {
    throw invalid([{ field: "register", description: "is required in the first message" }]);
  }
  const violations = checkRegister(register);
  if (violations.length > 0) throw invalid(violations);
  return {
    id: register.workerId,
    tenant,
    pool: register.pool,
    handlers: new Set(register.handlers),
    slots: register.slots,
    labels: register.labels,
    sdk: oneLine(register.sdk),
    host: oneLine(register.host),
  };
}

function checkRegister(register: Register): FieldViolation[] {
  const { workerId, pool, handlers, slots, labels, sdk, host, held } = register;
  const refuseIf = (isBad: boolean, field: string, description: string) =>
    isBad ? [{ field: `register.${field}`, description }] : [];
  return [
    ...refuseIf(!uuidPattern.test(workerId), "worker_id", "must be a UUID in lower case"),
    ...refuseIf(!poolPattern.test(pool), "pool", `must match ${poolPattern.source}`),
    ...refuseIf(handlers.length === 0, "handlers", "must name at least one handler"),
    ...refuseIf(handlers.length > maxHandlers, "handlers", `has ${handlers.length} names; the limit is ${maxHandlers}`),
    ...handlers
      .slice(0, maxHandlers)
      .flatMap((name, index) =>
        refuseIf(!handlerPattern.test(name), `handlers[${index}]`, `must match ${handlerPattern.source}`),
      ),
    ...refuseIf(slots < 1 || slots > maxSlots, "slots", `must be 1 to ${maxSlots}`),
    // Pools are counted together: a NUL, which jsonb does not take, would keep all of them from being reported.
    ...checkLabels(labels, "register.labels"),
    ...refuseIf(sdk.length > maxSdkLength, "sdk", `has more than ${maxSdkLength} characters`),
    ...refuseIf(host.length > maxHostLength, "host", `has more than ${maxHostLength} characters`),
    ...refuseIf(held.length > maxHeld, "held", `has ${held.length} executions; the limit is ${maxHeld}`),
    ...held
      .slice(0, maxHeld)
      .flatMap(({ executionId }, index) =>
        refuseIf(!uuidPattern.test(executionId), `held[${index}].execution_id`, "must be a UUID in lower case"),
      ),
  ];
}

/** It is shown in terminals and logs: no control character may stand in it. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, " ");
}
