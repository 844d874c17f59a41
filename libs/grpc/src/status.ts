/**
 * Refusals on the wire: a DomainError becomes a gRPC status with google.rpc details, and the client makes the same
 * DomainError of it again. All of it travels in HTTP/2 trailers, which many clients limit to 8 KiB, so texts are cut here.
 */
import { DomainError, type ErrorCode, errorCodes, type FieldViolation, type Refusal } from "@capstan/errors";
import type { Any } from "@capstan/proto/google/protobuf/any.ts";
import { BadRequest, ErrorInfo, ResourceInfo, RetryInfo } from "@capstan/proto/google/rpc/error_details.ts";
import { Status } from "@capstan/proto/google/rpc/status.ts";
import { status as grpcStatus, Metadata, type ServiceError, type StatusObject } from "@grpc/grpc-js";

/** The status of a failed call; `cause` is what was thrown when that was no refusal, and never leaves the process. */
export interface StatusReply extends StatusObject {
  readonly cause?: unknown;
}

const detailsKey = "grpc-status-details-bin";
const typePrefix = "type.googleapis.com/google.rpc.";
const maxMessageLength = 500;
const maxTextLength = 250;
const maxFieldsLength = 3_000;

/** A refusal as gRPC sends it: ErrorInfo always, the other details where they say something. */
export function toStatus(error: DomainError): StatusReply {
  const code = grpcStatus[error.code];
  const details = cut(error.message, maxMessageLength);
  const metadata = new Metadata();
  const status = Status.encode({ code, message: details, details: detailsOf(error) }).finish();
  metadata.set(detailsKey, Buffer.from(status));
  return { code, details, metadata };
}

function detailsOf(error: DomainError): Any[] {
  const metadata = Object.fromEntries(Object.entries(error.metadata).map(([key, text]) => [key, cut(text)]));
  const details = [pack("ErrorInfo", ErrorInfo.encode({ reason: error.reason, domain: "capstan", metadata }).finish())];
  if (error.fields.length > 0) {
    details.push(pack("BadRequest", BadRequest.encode({ fieldViolations: fieldsThatFit(error.fields) }).finish()));
  }
  if (error.retryAfterMs !== null) {
    const seconds = Math.floor(error.retryAfterMs / 1_000);
    const nanos = Math.round((error.retryAfterMs % 1_000) * 1e6);
    details.push(pack("RetryInfo", RetryInfo.encode({ retryDelay: { seconds, nanos } }).finish()));
  }
  if (error.resource !== null) {
    const { type, name } = error.resource;
    const info = { resourceType: type, resourceName: cut(name), owner: "", description: "" };
    details.push(pack("ResourceInfo", ResourceInfo.encode(info).finish()));
  }
  return details;
}

function pack(name: string, value: Uint8Array): Any {
  return { typeUrl: typePrefix + name, value: Buffer.from(value) };
}

/** As many of the bad fields as the trailers hold; what is left out is counted in a last entry without a field. */
function fieldsThatFit(fields: readonly FieldViolation[]): FieldViolation[] {
  const kept: FieldViolation[] = [];
  let length = 0;
  for (const { field, description } of fields) {
    const violation = { field: cut(field), description: cut(description) };
    length += violation.field.length + violation.description.length;
    if (length > maxFieldsLength) {
      return [...kept, { field: "", description: `and ${fields.length - kept.length} more` }];
    }
    kept.push(violation);
  }
  return kept;
}

/** Well-formed too, because a lone surrogate makes the encoding of `grpc-message` throw. */
function cut(text: string, maxLength = maxTextLength): string {
  return (text.length <= maxLength ? text : `${text.slice(0, maxLength - 1)}…`).toWellFormed();
}

/** Whether a server has said why, and not gRPC by itself. */
export function hasDetails(error: ServiceError): boolean {
  return error.metadata?.get(detailsKey)[0] instanceof Uint8Array;
}

/** The refusal a server sent, or what gRPC itself says about a call that never got an answer. */
export function fromServiceError(error: ServiceError): DomainError {
  const code = codeOf(error.code);
  const fallback = { code, reason: grpcStatus[error.code] ?? "UNKNOWN", message: error.details || error.message };
  const bytes = error.metadata?.get(detailsKey)[0];
  if (!(bytes instanceof Uint8Array)) return new DomainError(fallback);
  try {
    const status = Status.decode(bytes);
    return new DomainError(status.details.reduce(withDetail, { ...fallback, message: status.message }));
  } catch {
    // Details that cannot be read must not hide the code, which can.
    return new DomainError(fallback);
  }
}

function withDetail(refusal: Refusal, { typeUrl, value }: Any): Refusal {
  switch (typeUrl) {
    case `${typePrefix}ErrorInfo`: {
      const { reason, metadata } = ErrorInfo.decode(value);
      return { ...refusal, reason, metadata };
    }
    case `${typePrefix}BadRequest`:
      return { ...refusal, fields: BadRequest.decode(value).fieldViolations };
    case `${typePrefix}RetryInfo`: {
      const { seconds = 0, nanos = 0 } = RetryInfo.decode(value).retryDelay ?? {};
      return { ...refusal, retryAfterMs: seconds * 1_000 + nanos / 1e6 };
    }
    case `${typePrefix}ResourceInfo`: {
      const { resourceType, resourceName } = ResourceInfo.decode(value);
      return { ...refusal, resource: { type: resourceType, name: resourceName } };
    }
    default:
      return refusal;
  }
}

/** Codes that no refusal of ours has: access denied cannot be cured by repeating, the others are defects. */
function codeOf(code: grpcStatus): ErrorCode {
  const name = grpcStatus[code];
  if (name === "PERMISSION_DENIED" || name === "UNAUTHENTICATED") return "FAILED_PRECONDITION";
  return errorCodes.find((candidate) => candidate === name) ?? "INTERNAL";
}
