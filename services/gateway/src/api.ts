/**
 * REST: every RPC with a path, by one handler. It reads the request, asks the context, and answers; which fields there are, what they
 * must be and where they stand is all in the contracts.
 */
import { fromJson, toBinary } from "@bufbuild/protobuf";
import { DomainError, type FieldViolation, invalid } from "@capstan/errors";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { etagOf, etagPathOf, toAnswer } from "./answer.ts";
import { createJsonCheck } from "./checkJson.ts";
import type { Binding, Contracts, HttpMethod } from "./contracts.ts";
import { isKnown } from "./etag.ts";
import { withJsonPaths } from "./fieldPath.ts";
import { createHttpSpans } from "./httpSpan.ts";
import { createPathTable } from "./pathTemplate.ts";
import { HttpRefusal } from "./problem.ts";
import { readRequest } from "./readRequest.ts";
import { deadlineOf, type Upstreams } from "./upstreams.ts";

interface ApiOptions {
  readonly contracts: Contracts;
  readonly upstreams: Upstreams;
  /** As it stands before `/api/v1` on the outside; begins and ends with a slash. */
  readonly publicPath: string;
  /** Whether answers are checked against their schemas too. */
  readonly checkAnswers: boolean;
}

/** Serves what is below `/api/v1`. Paths that others have registered there go first. */
export function serveApi(http: FastifyInstance, options: ApiOptions): void {
  const { contracts, publicPath } = options;
  const served = contracts.bindings.filter(({ rpc }) => rpc.desc.methodKind === "unary");
  const shared: Shared = {};
  const find = createPathTable(
    served.map((binding) => ({ ...binding, route: createHandler(binding, options, shared) })),
  );
  const cut = publicPath.length - 1;

  async function handle(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const path = (request.raw.url ?? "").split("?")[0]?.slice(cut) ?? "";
    const match = find(path);
    if (match === null) throw pathNotFound(request.method);
    const method = request.method === "HEAD" ? "GET" : request.method;
    const handler = match.methods.get(method);
    if (handler === undefined) throw methodNotAllowed([...match.methods.keys()]);
    return handler(request, reply, match.values);
  }
  http.route({ method: [...methods, "HEAD"], url: `${publicPath}api/v1/*`, exposeHeadRoute: false, handler: handle });
}

const methods: readonly HttpMethod[] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

type Handler = (
  request: FastifyRequest,
  reply: FastifyReply,
  path: Readonly<Record<string, string>>,
) => Promise<unknown>;

/** Made with the first call, once for all the calls of one server. */
type Shared = { check?: ReturnType<typeof createJsonCheck>; span?: ReturnType<typeof createHttpSpans> };

function createHandler(binding: Binding, { contracts, upstreams, checkAnswers }: ApiOptions, shared: Shared): Handler {
  const { rpc, template, method } = binding;
  const { input, output } = rpc.desc;
  const { registry } = contracts;
  const etagPath = etagPathOf(output);

  return async (request, reply, path) => {
    shared.check ??= createJsonCheck(contracts.rpcs);
    shared.span ??= createHttpSpans();
    const { headers } = request;
    const span = shared.span(template.text, method, headers["traceparent"]);
    reply.raw.once("close", () => span.end(reply.raw.writableFinished ? reply.raw.statusCode : 499));
    const ifMatch = one(headers["if-match"]);
    const json = readRequest(
      binding,
      {
        path,
        query: request.query as Record<string, unknown>,
        body: request.body,
        idempotencyKey: one(headers["idempotency-key"]),
        ifMatch,
      },
      shared.check,
    );
    try {
      const bytes = await upstreams.ask(rpc, encode(json), {
        metadata: { "x-request-id": request.id, ...(span.traceparent !== null && { traceparent: span.traceparent }) },
        deadlineMs: deadlineOf(waitMsOf(json)),
        signal: whenGone(reply),
      });
      const answer = toAnswer(bytes, output, registry);
      if (checkAnswers) expectValid(shared.check(output, answer));
      const etag = etagOf(answer, etagPath);
      if (etag !== null) {
        reply.header("etag", etag);
        if (method === "GET" && isKnown(etag, headers["if-none-match"])) return reply.code(304).send();
      }
      reply.header("content-type", "application/json; charset=utf-8").header("cache-control", "no-store");
      return reply.serializer(JSON.stringify).send(answer);
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      const refusal = withJsonPaths(error, input);
      throw ifMatch !== undefined && refusal.code === "ABORTED" ? new HttpRefusal(412, toRefusal(refusal)) : refusal;
    }
  };

  function encode(json: Record<string, unknown>): Uint8Array {
    try {
      return toBinary(input, fromJson(input, json as Parameters<typeof fromJson>[1], { registry }));
    } catch (error) {
      // What no schema says: two of a oneof, a day that does not exist, a number of 64 bits that is too large.
      throw invalid([{ field: "body", description: plainWords(error) }]);
    }
  }
}

/** `cannot decode message capstan.job.v1.JobSpec from JSON: …` without what only we know. */
function plainWords(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text
    .replaceAll(/(cannot decode )?(message|field|enum) capstan\.\w+\.v1\.([\w.]+) from JSON/g, "$3")
    .replaceAll(/capstan\.\w+\.v1\./g, "")
    .slice(0, 250);
}

function one(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === "string" ? header : header?.join(",");
}

/** A call that waits by itself says for how long in `timeout`. */
function waitMsOf({ timeout }: Record<string, unknown>): number {
  return typeof timeout === "string" ? Number.parseFloat(timeout) * 1_000 : 0;
}

function whenGone(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) gone.abort();
  });
  return gone.signal;
}

function expectValid(violations: readonly FieldViolation[]): void {
  if (violations.length === 0) return;
  throw new Error(`an answer is not as its schema says: ${JSON.stringify(violations)}`);
}

function toRefusal({ code, reason, message, fields, metadata }: DomainError) {
  return { code, reason, message, fields, metadata };
}

function pathNotFound(method: string): HttpRefusal {
  return new HttpRefusal(404, {
    code: "NOT_FOUND",
    reason: "PATH_NOT_FOUND",
    message: `there is nothing at this path for ${method}; see /api/docs`,
  });
}

function methodNotAllowed(allowed: readonly string[]): HttpRefusal {
  const allow = allowed.includes("GET") ? ["HEAD", ...allowed] : allowed;
  return new HttpRefusal(
    405,
    { code: "UNIMPLEMENTED", reason: "METHOD_NOT_ALLOWED", message: `this path takes ${allowed.join(" and ")} only` },
    { allow: [...allow].sort().join(", ") },
  );
}
