/**
 * What a caller may know about an error that is not a refusal: whether calling again can help, and nothing of the inside.
 * Postgres errors are told apart by SQLSTATE, sockets by their error code; everything else is INTERNAL.
 */
import { DomainError, type Refusal } from "@capstan/errors";

const unavailable: Refusal = {
  code: "UNAVAILABLE",
  reason: "DEPENDENCY_UNAVAILABLE",
  message: "something this service depends on is not available; try again",
  retryAfterMs: 500,
};

const badValue: Refusal = {
  code: "INVALID_ARGUMENT",
  reason: "VALUE_NOT_STORABLE",
  message: "a value of the request cannot be stored, such as text with a NUL byte or a number out of range",
};

const conflict: Refusal = {
  code: "ABORTED",
  reason: "CONFLICT",
  message: "another call changed the same thing at the same time; try again",
  retryAfterMs: 50,
};

const overloaded: Refusal = {
  code: "RESOURCE_EXHAUSTED",
  reason: "TOO_MANY_CONNECTIONS",
  message: "too much is going on; try again",
  retryAfterMs: 1_000,
};

const tooLate: Refusal = {
  code: "DEADLINE_EXCEEDED",
  reason: "TIMEOUT",
  message: "the work took longer than it may",
};

const internal: Refusal = { code: "INTERNAL", reason: "INTERNAL", message: "internal error" };

// https://www.postgresql.org/docs/current/errcodes-appendix.html and the codes of Node's sockets.
const byCode: readonly (readonly [RegExp, Refusal])[] = [
  [/^57014$/, tooLate],
  [/^53300$/, overloaded],
  // Connection trouble; shutting down or starting up; out of disk or memory; read-only, which is a standby before failover.
  [/^(08...|57P..|53...|25006)$/, unavailable],
  [/^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)$/, unavailable],
  // Serialization failure, deadlock, lock timeout.
  [/^(40001|40P01|55P03)$/, conflict],
  // NUL byte, untranslatable \u0000, number or time out of range, text that is no uuid, number or time.
  [/^(22021|22P05|22003|22007|22008|22P02)$/, badValue],
];

/** The refusal that stands for `error` towards a caller; a DomainError stands for itself. */
export function mask(error: unknown): DomainError {
  if (error instanceof DomainError) return error;
  return new DomainError(known(error) ?? (error instanceof Error ? known(error.cause) : undefined) ?? internal);
}

// What pg, pg-pool and the NATS client say without a code.
const lostMessage = /^Connection terminated|^timeout exceeded when trying to connect|not queryable$/;
const lostNames = ["ConnectionError", "ClosedConnectionError", "NoRespondersError"];

function known(error: unknown): Refusal | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = "code" in error ? String(error.code) : "";
  const found = byCode.find(([pattern]) => pattern.test(code));
  if (found !== undefined) return found[1];
  if (error.name === "TimeoutError") return tooLate;
  return lostNames.includes(error.name) || lostMessage.test(error.message) ? unavailable : undefined;
}
