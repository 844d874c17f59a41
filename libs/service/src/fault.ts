/** Errors as health shows them: what kind of trouble it is, and never a message, which may hold a host, a user or a statement. */
import { DomainError } from "@capstan/errors";

/** A reason, an error code such as ECONNREFUSED or an SQLSTATE, or the class of the error. */
export function faultOf(error: unknown): string {
  if (error instanceof DomainError) return error.reason;
  if (!(error instanceof Error)) return "UNKNOWN";
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}
