/**
 * Errors over HTTP as RFC 9457 problem details. A refusal is told as it is; anything else is masked as on gRPC, with the true error
 * left to the log.
 */
import { DomainError, type ErrorCode } from "@capstan/errors";
import { mask } from "@capstan/grpc";

/** The body of an error; what is absent says nothing. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance: string;
  /** gRPC's code by name. */
  readonly code: string;
  /** Stable, UPPER_SNAKE: programs decide by it. */
  readonly reason: string;
  readonly domain: "capstan";
  readonly requestId: string;
  readonly errors?: readonly { readonly field: string; readonly message: string }[];
  readonly metadata?: Readonly<Record<string, string>>;
  readonly resource?: { readonly type: string; readonly name: string };
  readonly retryAfterMs?: number;
}

export const problemType = "application/problem+json";

/** As google.rpc.Code says. */
const statusOf: Readonly<Record<ErrorCode, number>> = {
  INVALID_ARGUMENT: 400,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  FAILED_PRECONDITION: 400,
  ABORTED: 409,
  RESOURCE_EXHAUSTED: 429,
  OUT_OF_RANGE: 400,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
  CANCELLED: 499,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
};

const titles: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  412: "Precondition Failed",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  421: "Misdirected Request",
  426: "Upgrade Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  499: "Client Closed Request",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** A refusal that HTTP knows and gRPC does not, such as a method that a path does not have. */
export class HttpRefusal extends DomainError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    refusal: ConstructorParameters<typeof DomainError>[0],
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(refusal);
    this.status = status;
    this.headers = headers;
  }
}

/** An error as its answer: the headers it brings along, and the body. `path` and `requestId` are of the request. */
export function toProblem(
  thrown: unknown,
  { path, requestId }: { readonly path: string; readonly requestId: string },
): { readonly problem: Problem; readonly headers: Readonly<Record<string, string>> } {
  const error = mask(thrown);
  const status = error instanceof HttpRefusal ? error.status : statusOf[error.code];
  // A caller told nothing would come back at once, when whatever is down or too busy needs anything but that.
  const retryAfterMs = error.retryAfterMs ?? (status === 503 || status === 429 ? 1_000 : null);
  const problem: Problem = {
    type: "about:blank",
    title: titles[status] ?? "Error",
    status,
    detail: error.message,
    instance: path,
    code: error.code,
    reason: error.reason,
    domain: "capstan",
    requestId,
    ...(error.fields.length > 0 && {
      errors: error.fields.map(({ field, description }) => ({ field, message: description })),
    }),
    ...(Object.keys(error.metadata).length > 0 && { metadata: error.metadata }),
    ...(error.resource !== null && { resource: error.resource }),
    ...(retryAfterMs !== null && { retryAfterMs }),
  };
  return {
    problem,
    headers: {
      "content-type": problemType,
      ...(error instanceof HttpRefusal && error.headers),
      ...(retryAfterMs !== null && { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1_000))) }),
    },
  };
}

const text = (description: string) => ({ type: "string", description });

/** A problem as JSON Schema. */
export const problemSchema = {
  type: "object",
  description: "An error, RFC 9457.",
  properties: {
    type: text("Always `about:blank`: `reason` tells problems apart."),
    title: text("The name of the status."),
    status: { type: "integer", description: "The HTTP status." },
    detail: text("What is wrong, for people."),
    instance: text("The path that was asked for."),
    code: text("The code over gRPC, such as `INVALID_ARGUMENT`."),
    reason: text("Stable, such as `INVALID_FIELDS`: programs decide by it."),
    domain: { const: "capstan" },
    requestId: text("The request's, as in `X-Request-Id`."),
    errors: {
      type: "array",
      description: "All bad fields.",
      items: {
        type: "object",
        properties: {
          field: text("Its path, such as `spec.steps[0].command`."),
          message: text("What is wrong with it."),
        },
        required: ["field", "message"],
      },
    },
    metadata: { type: "object", description: "What belongs to the reason.", additionalProperties: { type: "string" } },
    resource: {
      type: "object",
      description: "What the error is about.",
      properties: { type: text("Its kind, such as `job`."), name: text("Its id or name.") },
      required: ["type", "name"],
    },
    retryAfterMs: { type: "number", description: "When the same call may succeed; absent: nobody knows." },
  },
  required: ["type", "title", "status", "detail", "instance", "code", "reason", "domain", "requestId"],
};
