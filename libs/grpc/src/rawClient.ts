/**
 * Calls with bytes for messages, for what passes on calls that it does not read: a gateway. What gRPC itself says of a call that never
 * got an answer names hosts and ports, so it is put into other words here.
 */
import { DomainError } from "@capstan/errors";
import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  credentials,
  type Deadline,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { settings } from "./client.ts";
import { fromServiceError, hasDetails } from "./status.ts";

export interface RawClient {
  unary(
    path: string,
    request: Buffer,
    metadata: Metadata,
    deadline: Deadline,
    reply: (error: ServiceError | null, answer?: Buffer) => void,
  ): ClientUnaryCall;
  stream(path: string, request: Buffer, metadata: Metadata, deadline: Deadline): ClientReadableStream<Buffer>;
  duplex(path: string, metadata: Metadata, deadline: Deadline): ClientDuplexStream<Buffer, Buffer>;
  /** Whether the server says that it can do its work; throws when it says nothing within the time. */
  isServing(timeoutMs: number): Promise<boolean>;
  /** What a failed call is refused with towards whoever asked us. */
  refusalOf(error: ServiceError): DomainError;
  /** Ends the connection when the calls under way have ended. */
  close(): void;
}

const healthPath = "/grpc.health.v1.Health/Check";
/** The message of health.proto with its only field, `status`, as SERVING. */
const serving = Buffer.from([8, 1]);

const same = (bytes: Buffer) => bytes;

/** Connects with the first call. `name` is what the one at `address` is called where it does not answer. */
export function connectRaw(address: string, name: string): RawClient {
  const client = new Client(address, credentials.createInsecure(), settings);
  return {
    unary: (path, request, metadata, deadline, reply) =>
      client.makeUnaryRequest(path, same, same, request, metadata, { deadline }, reply),
    stream: (path, request, metadata, deadline) =>
      client.makeServerStreamRequest(path, same, same, request, metadata, { deadline }),
    duplex: (path, metadata, deadline) => client.makeBidiStreamRequest(path, same, same, metadata, { deadline }),
    isServing: (timeoutMs) =>
      new Promise((resolve, reject) => {
        const deadline = Date.now() + timeoutMs;
        client.makeUnaryRequest(
          healthPath,
          same,
          same,
          Buffer.alloc(0),
          new Metadata(),
          { deadline },
          (error, answer) => {
            if (error === null) resolve(answer?.equals(serving) === true);
            else reject(refusalOf(error, name));
          },
        );
      }),
    refusalOf: (error) => refusalOf(error, name),
    close: () => client.close(),
  };
}

function refusalOf(error: ServiceError, name: string): DomainError {
  const refusal = fromServiceError(error);
  if (hasDetails(error)) return refusal;
  const metadata = { service: name };
  switch (refusal.code) {
    case "UNAVAILABLE":
      return new DomainError({
        code: "UNAVAILABLE",
        reason: "SERVICE_UNAVAILABLE",
        message: `the ${name} service cannot be reached; try again`,
        metadata,
        retryAfterMs: 1_000,
      });
    case "DEADLINE_EXCEEDED":
      return new DomainError({
        code: "DEADLINE_EXCEEDED",
        reason: "DEADLINE_EXCEEDED",
        message: `the ${name} service did not answer in time`,
        metadata,
      });
    default: {
      const { code, reason } = refusal;
      return new DomainError({ code, reason, message: `the ${name} service ended the call with ${code}`, metadata });
    }
  }
}
