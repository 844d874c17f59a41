/** A service to be served: its generated definition and the functions that answer it. */
import { DomainError } from "@capstan/errors";
import type { MethodDefinition, ServiceDefinition, UntypedServiceImplementation } from "@grpc/grpc-js";
import type { ServerCall } from "./call.ts";

/** The generated `XServiceService` and an implementation of `XServiceServer`. */
export interface ServiceRegistration {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

/** `capstan.job.v1.JobService` and `SubmitJob` of `/capstan.job.v1.JobService/SubmitJob`. */
export function namesOf(path: string): { service: string; method: string } {
  const [, service = "", method = ""] = path.split("/");
  return { service, method };
}

/** What a request that cannot be decoded becomes: left to itself, grpc-js blames the server for it with INTERNAL. */
const malformed = Symbol("malformed request");

/** The same method, with requests that cannot be decoded left to `refuseEarly`. */
export function decodeOrMark(definition: MethodDefinition<unknown, unknown>): MethodDefinition<unknown, unknown> {
  const requestDeserialize = (bytes: Buffer) => {
    try {
      return definition.requestDeserialize(bytes);
    } catch {
      return malformed;
    }
  };
  return { ...definition, requestDeserialize };
}

/** True for what stands in the place of a request that could not be decoded. */
export function isMalformed(request: unknown): boolean {
  return request === malformed;
}

export function malformedRequest(): DomainError {
  return new DomainError({
    code: "INVALID_ARGUMENT",
    reason: "MALFORMED_REQUEST",
    message: "the request cannot be decoded as the message this method takes",
  });
}

const maxMetadataBytes = 8 * 1024;

/** The refusal of a request that no handler should see; null when one may. */
export function refuseEarly(call: ServerCall & { request?: unknown }): DomainError | null {
  if (isMalformed(call.request)) return malformedRequest();
  const bytes = metadataBytes(call);
  if (bytes <= maxMetadataBytes) return null;
  return new DomainError({
    code: "RESOURCE_EXHAUSTED",
    reason: "METADATA_TOO_LARGE",
    message: `the metadata has ${bytes} bytes; the limit is ${maxMetadataBytes}`,
  });
}

function metadataBytes(call: ServerCall): number {
  let bytes = 0;
  for (const [key, values] of Object.entries(call.metadata.toHttp2Headers())) bytes += key.length + `${values}`.length;
  return bytes;
}
