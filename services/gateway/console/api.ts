/**
 * Calls of the REST API. A refusal is an `ApiError` with all bad fields; a gateway that does not answer is told to the connection,
 * which then asks until it does.
 */
import { apiUrl } from "./base.ts";
import { connection } from "./connection.ts";

/** One thing that is wrong with a request. */
interface BadField {
  readonly field: string;
  readonly message: string;
}

/** RFC 9457, with what Capstan adds. */
interface Problem {
  readonly title?: string;
  readonly detail?: string;
  readonly reason?: string;
  readonly requestId?: string;
  readonly errors?: readonly BadField[];
  readonly retryAfterMs?: number;
}

/** What the platform answered in place of what was asked for. `status` is 0 when it did not answer at all. */
export class ApiError extends Error {
  readonly status: number;
  readonly reason: string;
  readonly requestId: string;
  readonly fields: readonly BadField[];

  constructor(status: number, problem: Problem) {
    super(problem.detail ?? problem.title ?? `the platform answered ${status}`);
    this.name = "ApiError";
    this.status = status;
    this.reason = problem.reason ?? "";
    this.requestId = problem.requestId ?? "";
    this.fields = problem.errors ?? [];
  }

  /** Whether the same call may work later as it is. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 502;
  }
}

export interface CallOptions {
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

const timeoutMs = 20_000;

/** The JSON answer of one call. Throws `ApiError`, or the signal's reason when that was aborted. */
export async function call<T>(method: Method, path: string, options: CallOptions = {}): Promise<T> {
  const { query, body, signal } = options;
  const timeout = AbortSignal.timeout(timeoutMs);
  const request: RequestInit = {
    method,
    headers: { accept: "application/json" },
    signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
  };
  if (method !== "GET" && method !== "DELETE") {
    request.headers = { ...request.headers, "content-type": "application/json" };
    request.body = JSON.stringify(body ?? {});
  }
  const response = await fetch(apiUrl(path, query), request).catch((error: unknown) => {
    if (signal?.aborted) throw error;
    connection.lose();
    throw new ApiError(0, { detail: "The gateway does not answer." });
  });
  connection.answered();
  const text = await response.text();
  const answer = parse(text);
  if (!response.ok) throw new ApiError(response.status, (answer ?? {}) as Problem);
  return answer as T;
}

function parse(text: string): unknown {
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch {
    return null;
  }
}

export function get<T>(
  path: string,
  query: CallOptions["query"] = {},
  signal: AbortSignal | undefined = undefined,
): Promise<T> {
  return call<T>("GET", path, { query, ...(signal === undefined ? {} : { signal }) });
}

export function post<T>(path: string, body: unknown = {}): Promise<T> {
  return call<T>("POST", path, { body });
}

/** Makes a call repeatable; each attempt of a person is a new one. */
export function newRequestId(): string {
  return crypto.randomUUID();
}

/** What went wrong, for people. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
