/**
 * The same RPCs for browsers and curl in the protocols of Connect and gRPC-Web, over HTTP/1.1 and at their gRPC paths:
 * `POST <public path>capstan.job.v1.JobService/GetJob`. Streams of answers too; streams both ways need gRPC itself. The library is loaded
 * when the first of these calls comes.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type DescMethod, type DescService, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { mask, toStatus } from "@capstan/grpc";
import type { Code, ConnectError, ConnectRouter, HandlerContext } from "@connectrpc/connect";
import type { FastifyInstance } from "fastify";
import type { Contracts, Rpc } from "./contracts.ts";
import { maxBodyBytes } from "./httpServer.ts";
import { type AskOptions, deadlineOf, type Upstreams } from "./upstreams.ts";

export interface ConnectOptions {
  readonly contracts: Contracts;
  readonly upstreams: Upstreams;
  readonly publicPath: string;
}

type Adapter = (request: IncomingMessage, response: ServerResponse) => void;

export async function serveConnect(http: FastifyInstance, options: ConnectOptions): Promise<void> {
  const { contracts, publicPath } = options;
  let adapter: Promise<Adapter> | undefined;
  await http.register(async (scope) => {
    // The library reads the body itself, whatever its type.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_, __, done) => done(null));
    for (const { typeName } of contracts.services) {
      scope.post(`${publicPath}${typeName}/:method`, async (request, reply) => {
        adapter ??= createAdapter(options);
        const answer = await adapter;
        for (const [name, value] of Object.entries(reply.getHeaders())) {
          if (value !== undefined) reply.raw.setHeader(name, value);
        }
        reply.raw.setHeader("cache-control", "no-store");
        request.raw.headers["x-request-id"] = request.id;
        reply.hijack();
        answer(request.raw, reply.raw);
      });
    }
  });
}

async function createAdapter({ contracts, upstreams, publicPath }: ConnectOptions): Promise<Adapter> {
  const [{ ConnectError: Failure }, { connectNodeAdapter }] = await Promise.all([
    import("@connectrpc/connect"),
    import("@connectrpc/connect-node"),
  ]);
  const fail = (error: unknown) => toConnectError(error, contracts, Failure);

  function handlerOf(rpc: Rpc) {
    const { input, output } = rpc.desc;
    const encode = (request: Message) => toBinary(input, request);
    if (rpc.desc.methodKind === "unary") {
      return async (request: Message, context: HandlerContext) => {
        try {
          return fromBinary(output, await upstreams.ask(rpc, encode(request), optionsOf(request, context)));
        } catch (error) {
          throw fail(error);
        }
      };
    }
    return async function* (request: Message, context: HandlerContext) {
      const options = { ...optionsOf(request, context), deadlineMs: context.timeoutMs() ?? Number.POSITIVE_INFINITY };
      try {
        for await (const bytes of upstreams.follow(rpc, encode(request), options)) {
          yield fromBinary(output, bytes);
        }
      } catch (error) {
        throw fail(error);
      }
    };
  }

  const routes = (router: ConnectRouter) => {
    for (const service of contracts.services) router.service(service, handlersOf(service));
  };
  const byMethod = new Map<DescMethod, Rpc>(contracts.rpcs.map((rpc) => [rpc.desc, rpc]));
  function handlersOf({ methods }: DescService): Parameters<ConnectRouter["service"]>[1] {
    const served = methods.flatMap((method) => {
      const rpc = byMethod.get(method);
      const isServed = method.methodKind === "unary" || method.methodKind === "server_streaming";
      return rpc !== undefined && isServed ? [[method.localName, handlerOf(rpc)]] : [];
    });
    return Object.fromEntries(served);
  }
  return connectNodeAdapter({
    routes,
    requestPathPrefix: publicPath.slice(0, -1),
    readMaxBytes: maxBodyBytes,
    grpc: false,
    jsonOptions: { registry: contracts.registry, ignoreUnknownFields: false, alwaysEmitImplicit: true },
  });
}

function optionsOf(request: Message & { readonly timeout?: unknown }, context: HandlerContext): AskOptions {
  const passed = [...context.requestHeader].filter(([name]) => name.startsWith("x-") || name === "traceparent");
  return {
    metadata: Object.fromEntries(passed),
    deadlineMs: context.timeoutMs() ?? deadlineOf(waitMsOf(request.timeout)),
    signal: context.signal,
  };
}

/** Of a google.protobuf.Duration. */
function waitMsOf(timeout: unknown): number {
  const { seconds } = (timeout ?? {}) as { readonly seconds?: bigint };
  return Number(seconds ?? 0) * 1_000;
}

/** With the same details as over gRPC. Codes have the same numbers in both. */
function toConnectError(thrown: unknown, { registry }: Contracts, Failure: typeof ConnectError): ConnectError {
  const { code, details, metadata } = toStatus(mask(thrown));
  const status = registry.getMessage("google.rpc.Status");
  const bytes = metadata.get("grpc-status-details-bin")[0];
  const { details: packed } = (status !== undefined && bytes instanceof Uint8Array
    ? fromBinary(status, bytes)
    : { details: [] }) as unknown as { details: readonly { typeUrl: string; value: Uint8Array }[] };
  const outgoing = packed.flatMap(({ typeUrl, value }) => {
    const desc = registry.getMessage(typeUrl.slice(typeUrl.lastIndexOf("/") + 1));
    return desc === undefined ? [] : [{ desc, value: fromBinary(desc, value) }];
  });
  return new Failure(details, code as number as Code, undefined, outgoing, thrown);
}
