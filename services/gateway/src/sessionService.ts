/** Live clients, for operators and for the console. */
import { invalid, notFound } from "@capstan/errors";
import { decodePageToken, encodePageToken, pageSize, parseFilter, unary } from "@capstan/grpc";
import { isUuid, type Pool } from "@capstan/postgres";
import type { Session } from "@capstan/proto/capstan/gateway/v1/session.ts";
import type { SessionServiceServer } from "@capstan/proto/capstan/gateway/v1/session_service.ts";
import { filterFields, getSession, listSessions, type SessionView } from "./sessionStore.ts";

export function createSessionService(pool: Pool): SessionServiceServer {
  return {
    getSession: unary(async ({ sessionId }, { tenant }) => {
      if (sessionId === "") throw invalid([{ field: "session_id", description: "is required" }]);
      // An id that cannot be one is as unknown as one that was never given out.
      const found = isUuid(sessionId) ? await getSession(pool, tenant, sessionId) : null;
      if (found === null) throw notFound("session", sessionId.slice(0, 64));
      return { session: toMessage(found) };
    }),

    listSessions: unary(async (request, { tenant }) => {
      const { filter } = request;
      const query = { list: "sessions", tenant, filter };
      const limit = pageSize(request.pageSize);
      const found = await listSessions(pool, {
        tenant,
        filter: parseFilter(filter, filterFields),
        cursor: decodePageToken(request.pageToken, query),
        limit: limit + 1,
      });
      const page = found.slice(0, limit);
      const last = found.length > limit ? page.at(-1) : undefined;
      return {
        sessions: page.map(toMessage),
        nextPageToken: last === undefined ? "" : encodePageToken(query, [last.createTimeText, last.id]),
      };
    }),
  };
}

function toMessage({ createTimeText: _, kind, state, reason, endTime, metadata, ...session }: SessionView): Session {
  return {
    ...session,
    metadata: { ...metadata },
    kind: `SESSION_KIND_${kind}`,
    state: `SESSION_STATE_${state}`,
    reason: reason === "NONE" ? "SESSION_REASON_UNSPECIFIED" : `SESSION_REASON_${reason}`,
    endTime: endTime ?? undefined,
  };
}
