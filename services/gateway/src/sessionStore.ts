/** The rows of live clients, and of the processes that have them. */
import { type Filter, type FilterFields, filterToSql } from "@capstan/grpc";
import type { Db } from "@capstan/postgres";
import type { SavedSession, SessionKind, SessionReason } from "./session.ts";

/**
 * Saves sessions of one process and says until when it lives. A session that was swept while its process was only frozen is there
 * again.
 */
export async function saveSessions(
  db: Db,
  { id, leaseMs }: { readonly id: string; readonly leaseMs: number },
  sessions: readonly SavedSession[],
): Promise<void> {
  await db.query({
    name: "save_sessions",
    text: `with replica as (
             insert into replica (id, lease_until) values ($1, clock_timestamp() + $2 * interval '1 ms')
             on conflict (id) do update set lease_until = excluded.lease_until
           )
           insert into session (id, replica_id, tenant, kind, client, metadata, address, path, create_time, heartbeat_time, end_time, reason,
                                subscriptions, delivered_events, dropped_events, sent_bytes, received_messages)
           select s.id, $1, s.tenant, s.kind, s.client, s.metadata, s.address, s.path, s.create_time, s.heartbeat_time, s.end_time, s.reason,
                  s.subscriptions, s.delivered, s.dropped, s.bytes, s.received
             from unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::text[], $9::text[], $10::timestamptz[],
                         $11::timestamptz[], $12::timestamptz[], $13::text[], $14::int[], $15::bigint[], $16::bigint[], $17::bigint[],
                         $18::bigint[])
                  as s (id, tenant, kind, client, metadata, address, path, create_time, heartbeat_time, end_time, reason,
                        subscriptions, delivered, dropped, bytes, received)
           on conflict (id) do update
              set heartbeat_time = excluded.heartbeat_time, end_time = excluded.end_time, reason = excluded.reason,
                  subscriptions = excluded.subscriptions, delivered_events = excluded.delivered_events,
                  dropped_events = excluded.dropped_events, sent_bytes = excluded.sent_bytes,
                  received_messages = excluded.received_messages`,
    values: [
      id,
      leaseMs,
      sessions.map((session) => session.id),
      sessions.map(({ tenant }) => tenant),
      sessions.map(({ kind }) => kind),
      sessions.map(({ client }) => client),
      sessions.map(({ metadata }) => JSON.stringify(metadata)),
      sessions.map(({ address }) => address),
      sessions.map(({ path }) => path),
      sessions.map(({ createTime }) => createTime),
      sessions.map(({ heartbeatTime }) => heartbeatTime),
      sessions.map(({ endTime }) => endTime),
      sessions.map(({ reason }) => reason ?? "NONE"),
      sessions.map(({ subscriptions }) => subscriptions),
      sessions.map(({ deliveredEvents }) => deliveredEvents),
      sessions.map(({ droppedEvents }) => droppedEvents),
      sessions.map(({ sentBytes }) => sentBytes),
      sessions.map(({ receivedMessages }) => receivedMessages),
    ],
  });
}

/** Says that a process has no clients any more; only after the last of its sessions was saved with its end. */
export async function forgetReplica(db: Db, id: string): Promise<void> {
  await db.query({ name: "forget_replica", text: "delete from replica where id = $1", values: [id] });
}

const replicaLives = "exists (select from replica r where r.id = s.replica_id and r.lease_until > clock_timestamp())";

/** Ends the sessions whose process has died. Whoever comes first does it for all. */
export async function sweepSessions(db: Db): Promise<void> {
  await db.query({
    name: "sweep_sessions",
    text: `with gone as (
             delete from replica where lease_until <= clock_timestamp() - interval '1 minute'
           )
           update session s set end_time = clock_timestamp(), reason = 'GATEWAY_LOST'
            where s.end_time is null and not ${replicaLives}`,
  });
}

/** Removes sessions that ended long ago, at most so many; gives back how many. */
export async function pruneSessions(db: Db, keptMs: number, limit: number): Promise<number> {
  const { rowCount } = await db.query({
    name: "prune_sessions",
    text: `delete from session where id in (
             select id from session where end_time < clock_timestamp() - $1 * interval '1 ms' order by end_time limit $2)`,
    values: [keptMs, limit],
  });
  return rowCount ?? 0;
}

/** A session as it is shown. */
export interface SessionView {
  readonly id: string;
  readonly tenant: string;
  readonly replicaId: string;
  readonly kind: SessionKind;
  readonly client: string;
  readonly metadata: { readonly [key: string]: string };
  readonly address: string;
  readonly path: string;
  readonly state: "ACTIVE" | "ENDED";
  readonly reason: SessionReason | "NONE";
  readonly subscriptions: number;
  readonly deliveredEvents: number;
  readonly droppedEvents: number;
  readonly sentBytes: number;
  readonly receivedMessages: number;
  readonly createTime: Date;
  readonly heartbeatTime: Date;
  readonly endTime: Date | null;
  /** Microseconds, for cursors. */
  readonly createTimeText: string;
}

// Also before anybody has swept, a session of a process that died is over.
const state = `case when s.end_time is null and ${replicaLives} then 'ACTIVE' else 'ENDED' end`;
const reason = `case when s.end_time is null and not ${replicaLives} then 'GATEWAY_LOST' else s.reason end`;

const columns = `
  s.id, s.tenant, s.replica_id as "replicaId", s.kind, s.client, s.metadata, s.address, s.path, ${state} as state, ${reason} as reason,
  s.subscriptions, s.delivered_events as "deliveredEvents", s.dropped_events as "droppedEvents", s.sent_bytes as "sentBytes",
  s.received_messages as "receivedMessages", s.create_time as "createTime", s.heartbeat_time as "heartbeatTime",
  s.end_time as "endTime", to_char(s.create_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "createTimeText"`;

const reasons = [
  "CLIENT_LEFT",
  "STREAM_ENDED",
  "SILENT",
  "TOO_SLOW",
  "REFUSED",
  "GATEWAY_STOPPED",
  "GATEWAY_LOST",
  "FAILED",
] as const satisfies readonly SessionReason[];

export const filterFields: FilterFields = {
  state: { type: "enum", values: ["ACTIVE", "ENDED"] },
  kind: { type: "enum", values: ["SSE", "WEBSOCKET"] },
  reason: { type: "enum", values: reasons },
  client: { type: "string" },
  address: { type: "string" },
  replica_id: { type: "id" },
  create_time: { type: "time" },
};

const filterColumns = {
  state: `(${state})`,
  kind: "s.kind",
  reason: `(${reason})`,
  client: "s.client",
  address: "s.address",
  replica_id: "s.replica_id",
  create_time: "s.create_time",
};

export async function getSession(db: Db, tenant: string, id: string): Promise<SessionView | null> {
  const { rows } = await db.query<SessionView>({
    text: `select ${columns} from session s where s.tenant = $1 and s.id = $2`,
    values: [tenant, id],
  });
  return rows[0] ?? null;
}

/** Newest first. */
export async function listSessions(
  db: Db,
  query: { tenant: string; filter: Filter | null; cursor: readonly string[] | null; limit: number },
): Promise<readonly SessionView[]> {
  const values: unknown[] = [query.tenant, query.limit, query.cursor?.[0] ?? null, query.cursor?.[1] ?? null];
  const { rows } = await db.query<SessionView>({
    text: `select ${columns}
             from session s
            where s.tenant = $1
              and ($3::timestamptz is null or (s.create_time, s.id) < ($3::timestamptz, $4::uuid))
              and ${filterToSql(query.filter, filterColumns, values)}
            order by s.create_time desc, s.id desc
            limit $2`,
    values,
  });
  return rows;
}
