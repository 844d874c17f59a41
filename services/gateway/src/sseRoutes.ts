/** The paths that answer with Server-Sent Events. Each reads: check the query, see that there is such a thing, then stream. */

import { invalid } from "@capstan/errors";
import { isUuid } from "@capstan/postgres";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { LiveDeps } from "./liveDeps.ts";
import { createMatcher } from "./liveFilter.ts";
import { openLog } from "./liveLog.ts";
import { clientOf, type LiveQuery, lastEventId, liveQueries, readLiveQuery, readNumber } from "./liveQuery.ts";
import type { OpenSession } from "./sessions.ts";
import { readPosition, watchJobs } from "./sseJobs.ts";
import { nothingMore, openSse, type SseStream } from "./sseStream.ts";

/** `Last-Event-ID` of a log after its end. */
const endOfLog = "end";
const maxSequence = 2 ** 31 - 1;

/** Registers them below `prefix`, which ends with a slash. */
export function serveEventStreams(http: FastifyInstance, prefix: string, deps: LiveDeps): void {
  // A HEAD would be answered with a stream that nobody reads.
  const options = { exposeHeadRoute: false };
  http.get(`${prefix}jobs/:job_id/events::watch`, options, (request, reply) => watchJob(request, reply, deps));
  http.get(`${prefix}jobs::watch`, options, (request, reply) => watchAllJobs(request, reply, deps));
  http.get(`${prefix}executions/:execution_id/logs::tail`, options, (request, reply) => tailLog(request, reply, deps));
}

/** The id of a path; one that cannot be one is looked for all the same, and not found. */
function idOf(request: FastifyRequest, name: string): string {
  const id = (request.params as Record<string, string>)[name] ?? "";
  return isUuid(id) ? id.toLowerCase() : id.slice(0, 64);
}

function open(request: FastifyRequest, query: LiveQuery, { clients, sessions }: LiveDeps): OpenSession {
  clients.refuseIfStopping();
  return sessions.open(clientOf(request, "SSE", query));
}

async function watchJob(request: FastifyRequest, reply: FastifyReply, deps: LiveDeps): Promise<FastifyReply> {
  const query = readLiveQuery(request, liveQueries.watchJob);
  const last = lastEventId(request);
  const afterSequence =
    readNumber(last ?? undefined, "Last-Event-ID", maxSequence) ??
    readNumber(query.own.get("afterSequence"), "afterSequence", maxSequence);
  const replay = readNumber(query.own.get("replay"), "replay", deps.limits.maxReplay);
  if (last === null && afterSequence !== null && replay !== null) {
    throw invalid([{ field: "replay", description: "does not go with afterSequence" }]);
  }
  const matches = createMatcher(query.filter);
  const session = open(request, query, deps);
  const { jobFollowers, clients } = deps;
  const begun = Promise.withResolvers<FastifyReply>();
  let stream: SseStream | null = null;
  /** The newest event that this client has passed, wanted or not. */
  let passed = { sequence: 0, isTold: false };
  const wanted = {
    jobId: idOf(request, "job_id"),
    tenant: "default",
    afterSequence: afterSequence ?? (replay === null ? 0 : null),
    replay: replay ?? 0,
  };
  const following = jobFollowers.follow(wanted, {
    onBegin({ sequence, hasEnded }) {
      if (request.raw.socket.destroyed) return following.stop();
      const first = wanted.afterSequence ?? sequence - wanted.replay;
      if (hasEnded && first >= sequence) return;
      stream = openSse(request, reply, { clients, session });
      stream.signal.addEventListener("abort", following.stop);
      begun.resolve(reply);
    },
    take(event) {
      if (stream === null || !stream.hasRoom) {
        stream?.whenRoom(following.resume);
        return false;
      }
      passed = { sequence: event.sequence, isTold: matches(event) };
      if (passed.isTold) stream.sendEvent(event.frame("sse", (json) => `id: ${event.sequence}\ndata: ${json}\n\n`));
      return true;
    },
    onEnd() {
      if (stream !== null) {
        // Whoever did not want the last event would come back for it for ever.
        if (!passed.isTold) stream.send(`id: ${passed.sequence}\n\n`);
        return stream.end("STREAM_ENDED");
      }
      session.end("STREAM_ENDED");
      begun.resolve(nothingMore(reply));
    },
    onFail(error) {
      session.end("REFUSED");
      begun.reject(error);
    },
  });
  reply.raw.once("close", () => {
    following.stop();
    session.end("CLIENT_LEFT");
  });
  return begun.promise;
}

async function watchAllJobs(request: FastifyRequest, reply: FastifyReply, deps: LiveDeps): Promise<FastifyReply> {
  const query = readLiveQuery(request, liveQueries.watchJobs);
  const last = lastEventId(request) ?? query.own.get("lastEventId") ?? null;
  const position = last === null ? null : readPosition(last);
  if (last !== null && position === null) {
    throw invalid([{ field: "Last-Event-ID", description: "is none that this stream gave" }]);
  }
  const replay = readNumber(query.own.get("replay"), "replay", deps.limits.maxReplay) ?? 0;
  const { feeds, nats, labels, clients } = deps;
  const session = open(request, query, deps);
  let place = () => "";
  const heartbeat = () => (place() === "" ? "" : `id: ${place()}\n`);
  const stream = openSse(request, reply, { clients, session, onHeartbeat: heartbeat });
  ({ place } = watchJobs({ feed: feeds.of("job"), nc: nats, labels, stream, filter: query.filter, position, replay }));
  return reply;
}

async function tailLog(request: FastifyRequest, reply: FastifyReply, deps: LiveDeps): Promise<FastifyReply> {
  const query = readLiveQuery(request, liveQueries.tailLogs);
  const last = lastEventId(request);
  if (last === endOfLog) return nothingMore(reply);
  const afterSequence =
    readNumber(last ?? undefined, "Last-Event-ID", 1e15) ??
    readNumber(query.own.get("afterSequence"), "afterSequence", 1e15);
  const session = open(request, query, deps);
  const executionId = idOf(request, "execution_id");
  const reading = new AbortController();
  reply.raw.once("close", () => reading.abort());
  try {
    const wanted = { executionId, afterSequence: afterSequence ?? 0 };
    const parts = await openLog(deps.executions, wanted, reading.signal);
    const stream = openSse(request, reply, { clients: deps.clients, session });
    stream.signal.addEventListener("abort", () => reading.abort());
    void sendLog(parts, stream);
    return reply;
  } catch (error) {
    session.end(reading.signal.aborted ? "CLIENT_LEFT" : "REFUSED");
    throw error;
  }
}

async function sendLog(parts: Awaited<ReturnType<typeof openLog>>, stream: SseStream): Promise<void> {
  try {
    for await (const { sequence, json } of parts) {
      await stream.room();
      stream.sendEvent(Buffer.from(`id: ${sequence ?? endOfLog}\ndata: ${json}\n\n`));
    }
    stream.end("STREAM_ENDED");
  } catch {
    // Whoever comes back gets the rest, or is told why there is none.
    stream.end("FAILED");
  }
}
