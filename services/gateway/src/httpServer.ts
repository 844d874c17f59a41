/**
 * The HTTP server as every request meets it, before anybody knows what it asks for: who may call, what it is called (X-Request-Id),
 * limits, and errors as problems. What is served below the public path is registered by others.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { addressInUse } from "@capstan/grpc";
import type { Logger } from "@capstan/service";
import cors from "@fastify/cors";
import {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
} from "fastify";
import type { Config } from "./config.ts";
import { createGuards } from "./guards.ts";
import { acceptJson } from "./jsonBody.ts";
import { HttpRefusal, problemType, toProblem } from "./problem.ts";
import { limitRequests } from "./rateLimit.ts";

export const maxBodyBytes = 4 * 1024 * 1024;
export const maxHeaderBytes = 16 * 1024;
export const maxUrlBytes = 8 * 1024;
export const rateWindowMs = 10_000;
const requestTimeoutMs = 30_000;

const requestIdPattern = /^[\w.:/-]{1,128}$/;

/** Opens nothing yet: `listen` does. Whoever registers routes does it below `publicPath`. */
export async function createHttpServer(
  config: Pick<
    Config,
    "CAPSTAN_HTTP_HOSTS" | "CAPSTAN_HTTP_ORIGINS" | "CAPSTAN_HTTP_TRUSTED_PROXIES" | "CAPSTAN_HTTP_RATE_LIMIT"
  >,
  log: Logger,
): Promise<FastifyInstance> {
  const proxies = config.CAPSTAN_HTTP_TRUSTED_PROXIES;
  const sendProblem = (thrown: FastifyError, request: FastifyRequest, reply: FastifyReply) => {
    const path = request.url.split("?")[0] ?? "";
    const { problem, headers } = toProblem(asRefusal(thrown), { path, requestId: request.id });
    if (problem.status === 500) log.error({ err: thrown, requestId: request.id, path }, "request failed");
    return reply.code(problem.status).headers(headers).serializer(JSON.stringify).send(problem);
  };
  const guards = createGuards({ hosts: config.CAPSTAN_HTTP_HOSTS, origins: config.CAPSTAN_HTTP_ORIGINS });
  const http: FastifyInstance = fastify({
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: maxBodyBytes,
    http: {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: 10_000,
      // Java's client and `curl --http2` offer to go on in HTTP/2, which is not taken: theirs are requests like any other.
      shouldUpgradeCallback: asksForWebSocket,
    },
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: 65_000, // longer than the usual proxy keeps one, so that none sends into a connection that is closing
    connectionTimeout: 0,
    forceCloseConnections: "idle",
    return503OnClosing: true,
    trustProxy: proxies.length === 0 ? false : proxies,
    routerOptions: { maxParamLength: 1_024, ignoreTrailingSlash: false },
    frameworkErrors: (error, request, reply) => sendProblem(error, request, reply),
    clientErrorHandler: (error, socket) => refuseConnection(error, socket),
    genReqId: ({ headers }) => {
      const given = headers["x-request-id"];
      return typeof given === "string" && requestIdPattern.test(given) ? given : randomUUID();
    },
  });

  http.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
    reply.header("x-content-type-options", "nosniff");
    guards.check(request.headers);
    if (request.raw.url !== undefined && request.raw.url.length > maxUrlBytes) throw urlTooLong();
  });
  await limitRequests(http, { limit: config.CAPSTAN_HTTP_RATE_LIMIT, windowMs: rateWindowMs });
  acceptJson(http);
  await http.register(cors, {
    origin: (origin, done) => done(null, origin !== undefined && guards.isListedOrigin(origin)),
    methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    exposedHeaders: ["ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"],
    maxAge: 600,
    strictPreflight: false,
  });

  http.setErrorHandler(sendProblem);
  http.setNotFoundHandler((request) => {
    throw new HttpRefusal(404, {
      code: "NOT_FOUND",
      reason: "PATH_NOT_FOUND",
      message: `there is nothing at this path for ${request.method}`,
    });
  });
  return http;
}

/** Whether the connection is handed over, and speaks HTTP no more. */
export function asksForWebSocket({ headers }: Pick<IncomingMessage, "headers">): boolean {
  return headers.upgrade?.toLowerCase() === "websocket";
}

/** Listens at host:port and gives back the same with the true port; refuses an address that another process has. */
export async function listen(http: FastifyInstance, address: string): Promise<string> {
  const colon = address.lastIndexOf(":");
  try {
    await http.listen({
      host: address.slice(0, colon).replace(/^\[|\]$/g, ""),
      port: Number(address.slice(colon + 1)),
      listenTextResolver: () => "",
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") throw addressInUse(address);
    throw error;
  }
  const bound = http.server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  return `${address.slice(0, colon)}:${port}`;
}

const drainMs = 10_000;

/**
 * Takes no new requests, lets those under way end for 10 s, then cuts off what is left. Node by itself would wait for connections on
 * which nothing was ever asked until it next looks for slow ones, which is every 30 s.
 */
export function createClose(http: FastifyInstance): () => Promise<void> {
  let underWay = 0;
  let isClosing = false;
  const cutOff = () => http.server.closeAllConnections();
  http.server.on("request", (_, response) => {
    underWay += 1;
    response.once("close", () => {
      underWay -= 1;
      if (isClosing && underWay === 0) cutOff();
    });
  });
  return async () => {
    isClosing = true;
    const late = setTimeout(cutOff, drainMs);
    const closed = http.close();
    if (underWay === 0) cutOff();
    await closed;
    clearTimeout(late);
  };
}

function urlTooLong(): HttpRefusal {
  return new HttpRefusal(414, {
    code: "INVALID_ARGUMENT",
    reason: "URL_TOO_LONG",
    message: `the URL is longer than ${maxUrlBytes} bytes`,
  });
}

/** What is no request at all is answered and its connection closed; there is nothing to tell the path or an id from. */
function refuseConnection({ code }: { readonly code?: string }, socket: Duplex): void {
  if (code === "ECONNRESET" || !socket.writable) return void socket.destroy();
  const [status, reason, message] =
    code === "HPE_HEADER_OVERFLOW"
      ? [431, "HEADERS_TOO_LARGE", `the headers are larger than ${maxHeaderBytes} bytes`]
      : code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? [408, "REQUEST_TOO_SLOW", "the request did not come within its time"]
        : [400, "REQUEST_NOT_HTTP", "the request is not HTTP"];
  const refusal = new HttpRefusal(Number(status), {
    code: "INVALID_ARGUMENT",
    reason: String(reason),
    message: String(message),
  });
  const { problem } = toProblem(refusal, { path: "", requestId: randomUUID() });
  const body = JSON.stringify(problem);
  const head = `HTTP/1.1 ${problem.status} ${problem.title}\r\ncontent-type: ${problemType}\r\n`;
  socket.end(`${head}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`);
}

/** What Fastify itself refuses, in our words. */
function asRefusal(error: FastifyError): Error {
  const { statusCode = 500, code } = error;
  if (error instanceof HttpRefusal || statusCode >= 500 || !code?.startsWith("FST_")) return error;
  const reason = reasons[code] ?? "BAD_REQUEST";
  const tooLarge = code === "FST_ERR_CTP_BODY_TOO_LARGE";
  const message = tooLarge ? `the body is larger than ${maxBodyBytes} bytes` : error.message;
  return new HttpRefusal(statusCode, {
    code: tooLarge ? "RESOURCE_EXHAUSTED" : "INVALID_ARGUMENT",
    reason,
    message,
  });
}

const reasons: Readonly<Record<string, string>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: "BODY_TOO_LARGE",
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "CONTENT_TYPE_NOT_SUPPORTED",
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: "BODY_INCOMPLETE",
  FST_ERR_CTP_EMPTY_JSON_BODY: "BODY_EMPTY",
  FST_ERR_CTP_INVALID_JSON_BODY: "BODY_NOT_JSON",
  FST_ERR_BAD_URL: "URL_NOT_VALID",
};
