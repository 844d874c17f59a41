/** What the libs and services may refuse with. Everything else that is thrown is a defect or an outage. */
export type { ErrorCode, FieldViolation, Refusal } from "./domainError.ts";
export { DomainError, errorCodes, invalid, notFound } from "./domainError.ts";
