import type { IncomingHttpHeaders } from "node:http2";
import { DomainError, errorCodes } from "@capstan/errors";
import { status as grpcStatus, Metadata, type ServiceError } from "@grpc/grpc-js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { fromServiceError, toStatus } from "./status.ts";

/** What arrives at the client: headers are text on the wire, so the details pass through base64 there and back. */
function carry(error: DomainError): DomainError {
  const { code, details, metadata } = toStatus(error);
  const arrived = Metadata.fromHttp2Headers(metadata.toHttp2Headers() as IncomingHttpHeaders);
  return fromServiceError(Object.assign(new Error(details), { code, details, metadata: arrived }) as ServiceError);
}

test("a refusal arrives as it was thrown, with all its details", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 40 });
  const refusal = fc.record({
    code: fc.constantFrom(...errorCodes),
    reason: fc.constantFrom("JOB_NOT_FOUND", "QUOTA_EXCEEDED"),
    message: text,
    fields: fc.array(fc.record({ field: text, description: text }), { maxLength: 5 }),
    metadata: fc.dictionary(text, text, { maxKeys: 5, noNullPrototype: true }),
    retryAfterMs: fc.nat(10_000_000),
    resource: fc.record({ type: text, name: text }),
  });
  fc.assert(
    fc.property(refusal, (sent) => {
      expect(carry(new DomainError(sent))).toMatchObject(sent);
    }),
  );
});

test("a refusal without details has none when it arrives", () => {
  const error = new DomainError({ code: "ABORTED", reason: "JOB_CHANGED", message: "changed" });
  expect(carry(error)).toMatchObject({ fields: [], metadata: {}, retryAfterMs: null, resource: null });
});

test("the details stay within what HTTP/2 headers carry, and say how much was left out", () => {
  const fields = Array.from({ length: 1_000 }, (_, index) => ({
    field: `steps[${index}]`,
    description: "é".repeat(999),
  }));
  const error = new DomainError({
    code: "INVALID_ARGUMENT",
    reason: "INVALID_FIELDS",
    message: "é".repeat(9_999),
    fields,
  });
  const [details] = toStatus(error).metadata.get("grpc-status-details-bin");
  expect(details?.length).toBeLessThan(8_000);
  const arrived = carry(error);
  expect(arrived.fields.at(-1)).toEqual({ field: "", description: `and ${1_001 - arrived.fields.length} more` });
  expect(arrived.message).toHaveLength(500);
});

test("a lone surrogate in a message does not break the status", () => {
  const error = new DomainError({ code: "NOT_FOUND", reason: "JOB_NOT_FOUND", message: "job \ud800" });
  expect(() => encodeURI(toStatus(error).details)).not.toThrow();
});

test("details that cannot be read do not hide the code", () => {
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from([0xff, 0xff, 0xff]));
  const error = Object.assign(new Error(), { code: grpcStatus.NOT_FOUND, details: "gone", metadata }) as ServiceError;
  expect(fromServiceError(error)).toMatchObject({ code: "NOT_FOUND", reason: "NOT_FOUND", message: "gone" });
});

test("codes no refusal has become the nearest one", () => {
  const codeOf = (code: grpcStatus) => {
    const metadata = new Metadata();
    return fromServiceError(Object.assign(new Error(), { code, details: "", metadata }) as ServiceError).code;
  };
  expect(codeOf(grpcStatus.UNAUTHENTICATED)).toBe("FAILED_PRECONDITION");
  expect(codeOf(grpcStatus.UNKNOWN)).toBe("INTERNAL");
});
