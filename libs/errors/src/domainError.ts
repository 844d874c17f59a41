/**
 * A refusal: an error the caller can act on. It crosses every border of Capstan unchanged (thrown by an aggregate, carried by
 * gRPC as `google.rpc.Status`, rebuilt by the client), so all that is in it is public. An outage or a defect is never a
 * DomainError; it is thrown as it is and reaches a client as INTERNAL without its inside.
 */

/** The codes a refusal may have, in the words of gRPC (google.rpc.Code). */
export const errorCodes = [
  "INVALID_ARGUMENT",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "FAILED_PRECONDITION",
  "ABORTED",
  "RESOURCE_EXHAUSTED",
  "OUT_OF_RANGE",
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "CANCELLED",
  "UNIMPLEMENTED",
  "INTERNAL",
] as const;

/** Wrong state is FAILED_PRECONDITION, a lost race ABORTED, a quota or back-pressure RESOURCE_EXHAUSTED. */
export type ErrorCode = (typeof errorCodes)[number];

/** One bad field of a request; `field` is its path in proto names, for example `spec.steps[2].image`. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** The thing a refusal is about, as in google.rpc.ResourceInfo: type `job`, name its id. */
interface ResourceName {
  readonly type: string;
  readonly name: string;
}

export interface Refusal {
  readonly code: ErrorCode;
  /** UPPER_SNAKE and stable: programs decide by it, people read the message. */
  readonly reason: string;
  readonly message: string;
  /** All bad fields of the request, not the first one found. */
  readonly fields?: readonly FieldViolation[];
  readonly metadata?: Readonly<Record<string, string>>;
  /** When the same call may succeed; absent: nobody knows. */
  readonly retryAfterMs?: number;
  readonly resource?: ResourceName;
}

/** A class because callers tell it from other errors by `instanceof`; it has no behaviour. */
export class DomainError extends Error {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly fields: readonly FieldViolation[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Milliseconds until the same call may succeed; null when nobody knows. */
  readonly retryAfterMs: number | null;
  /** Null when the refusal is not about one thing. */
  readonly resource: ResourceName | null;

  constructor(refusal: Refusal) {
    super(refusal.message);
    this.name = "DomainError";
    this.code = refusal.code;
    this.reason = refusal.reason;
    this.fields = refusal.fields ?? [];
    this.metadata = refusal.metadata ?? {};
    this.retryAfterMs = refusal.retryAfterMs ?? null;
    this.resource = refusal.resource ?? null;
  }
}

/** Refuses a request for all its bad fields at once; the message lists every one of them. */
export function invalid(fields: readonly FieldViolation[]): DomainError {
  return new DomainError({
    code: "INVALID_ARGUMENT",
    reason: "INVALID_FIELDS",
    message: fields.map(({ field, description }) => `${field}: ${description}`).join("; "),
    fields,
  });
}

/** Refuses because there is no such thing, or none the caller may see; the two look alike on purpose. */
export function notFound(type: string, name: string): DomainError {
  return new DomainError({
    code: "NOT_FOUND",
    reason: `${type.toUpperCase()}_NOT_FOUND`,
    message: `${type} ${JSON.stringify(name)} was not found`,
    resource: { type, name },
  });
}
