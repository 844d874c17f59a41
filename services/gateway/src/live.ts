/** Live clients of this process: what they share is made here, and closed here in an order in which everybody is told. */
import { connectTo } from "@capstan/grpc";
import type { NatsConnection } from "@capstan/messaging";
import type { Pool } from "@capstan/postgres";
import { ExecutionServiceClient } from "@capstan/proto/capstan/execution/v1/execution_service.ts";
import { JobInternalServiceClient } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import type { App } from "@capstan/service";
import websocket from "@fastify/websocket";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Config } from "./config.ts";
import { asksForWebSocket } from "./httpServer.ts";
import { createLiveClients } from "./liveClients.ts";
import type { LiveDeps } from "./liveDeps.ts";
import { createFeeds } from "./liveFeeds.ts";
import { createJobFollowers } from "./liveJobs.ts";
import { createKnownLabels } from "./liveLabels.ts";
import { startLiveMetrics } from "./liveMetrics.ts";
import { clientOf, liveQueries, readLiveQuery } from "./liveQuery.ts";
import { serveSocket } from "./liveSocket.ts";
import { HttpRefusal } from "./problem.ts";
import { createSessions, type OpenSession } from "./sessions.ts";
import { serveEventStreams } from "./sseRoutes.ts";

interface LiveOptions {
  readonly app: App;
  readonly config: Config;
  readonly pool: Pool;
  readonly nats: NatsConnection;
}

/** What waits for slow WebSockets in this process, all of them together. */
export const maxWaitingBytes = 64 * 1024 * 1024;
/** A frame larger than this ends its WebSocket unread; one that is too large but smaller is answered with the limit. */
const frameFactor = 4;

/** Serves nothing yet: `register` does, below the public path. `close` tells every client to leave; call it before the server closes. */
export function createLive({ app, config, pool, nats }: LiveOptions) {
  const { log } = app;
  const heartbeatMs = config.CAPSTAN_LIVE_HEARTBEAT_MS;
  const jobs = connectTo(JobInternalServiceClient, config.CAPSTAN_JOB_ADDRESS);
  const executions = connectTo(ExecutionServiceClient, config.CAPSTAN_EXECUTION_ADDRESS);
  const read: Parameters<typeof createKnownLabels>[0] = async (cursors) =>
    (await jobs.readJobEvents({ cursors: [...cursors], tenant: "" })).pages;
  const feeds = createFeeds({ nc: nats, log });
  const deps: LiveDeps = {
    nats,
    executions,
    sessions: createSessions({ app, pool, maxSessions: config.CAPSTAN_LIVE_MAX_SESSIONS, heartbeatMs }),
    clients: createLiveClients(heartbeatMs),
    feeds,
    jobFollowers: createJobFollowers({ feed: feeds.of("job"), read, log }),
    labels: createKnownLabels(read),
    limits: {
      maxSubscriptions: config.CAPSTAN_LIVE_MAX_SUBSCRIPTIONS,
      maxMessageBytes: config.CAPSTAN_LIVE_MAX_MESSAGE_BYTES,
      maxReplay: config.CAPSTAN_LIVE_MAX_REPLAY,
    },
    heartbeatMs,
    budget: { bytes: 0, maxBytes: maxWaitingBytes },
  };
  startLiveMetrics(deps);

  return {
    async register(http: FastifyInstance): Promise<void> {
      const prefix = `${config.CAPSTAN_PUBLIC_PATH}api/v1/`;
      const maxPayload = frameFactor * config.CAPSTAN_LIVE_MAX_MESSAGE_BYTES;
      await http.register(websocket, {
        options: { maxPayload, perMessageDeflate: false },
        // What a client does wrong closes its socket already, with the code that says why.
        errorHandler: (_error, socket) => {
          if (socket.readyState === socket.OPEN) socket.terminate();
        },
      });
      // The server counts a connection that asked to be upgraded as gone, and would wait for it for ever.
      http.addHook("onResponse", async ({ raw }) => {
        if (asksForWebSocket(raw)) raw.socket.destroySoon();
      });
      serveEventStreams(http, prefix, deps);
      serveWebSocket(http, `${prefix}live`, deps);
    },
    async close(): Promise<void> {
      await deps.clients.stop();
      deps.jobFollowers.close();
      await feeds.close();
      await deps.sessions.close();
      jobs.close();
      executions.close();
    },
  };
}

/** Whoever is refused gets an answer of HTTP: the socket is only opened after that. */
function serveWebSocket(http: FastifyInstance, path: string, deps: LiveDeps): void {
  const opened = new WeakMap<FastifyRequest, { readonly session: OpenSession; readonly forget: () => void }>();
  http.route({
    method: "GET",
    url: path,
    exposeHeadRoute: false,
    async preHandler(request) {
      if (!request.ws) return;
      const query = readLiveQuery(request, liveQueries.openLive);
      deps.clients.refuseIfStopping();
      const session = deps.sessions.open(clientOf(request, "WEBSOCKET", query));
      // Until the socket is served, which knows better why it ends.
      const forget = () => session.end("CLIENT_LEFT");
      opened.set(request, { session, forget });
      request.raw.socket.once("close", forget);
    },
    async handler() {
      throw noWebSocket();
    },
    wsHandler(socket, request) {
      const accepted = opened.get(request);
      if (accepted === undefined) return socket.terminate();
      request.raw.socket.off("close", accepted.forget);
      serveSocket(socket, request, accepted.session, deps);
    },
  });
}

function noWebSocket(): HttpRefusal {
  const message = "this path is for WebSockets; see docs/live.md for streams of Server-Sent Events";
  const refusal = { code: "FAILED_PRECONDITION", reason: "WEBSOCKET_EXPECTED", message } as const;
  return new HttpRefusal(426, refusal, { upgrade: "websocket", connection: "upgrade" });
}
