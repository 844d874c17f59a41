-- Live clients. Only the process that has a client writes its row, so that what it counts is simply saved.

-- Processes that have clients. Its row says that a process lives; one whose time is over has died, and its clients are gone.
create table gateway.replica (
  id          uuid primary key,
  lease_until timestamptz not null
) with (fillfactor = 50);

create table gateway.session (
  id                uuid primary key,
  tenant            text not null,
  replica_id        uuid not null,
  kind              text not null check (kind in ('SSE', 'WEBSOCKET')),
  -- What the client says of itself.
  client            text not null,
  metadata          jsonb not null,
  address           text not null,
  path              text not null,
  subscriptions     int not null default 0,
  delivered_events  bigint not null default 0,
  dropped_events    bigint not null default 0,
  sent_bytes        bigint not null default 0,
  received_messages bigint not null default 0,
  create_time       timestamptz not null,
  heartbeat_time    timestamptz not null,
  end_time          timestamptz,
  -- Why it has ended.
  reason            text not null default 'NONE'
    check (reason in ('NONE', 'CLIENT_LEFT', 'STREAM_ENDED', 'SILENT', 'TOO_SLOW', 'REFUSED', 'GATEWAY_STOPPED', 'GATEWAY_LOST', 'FAILED')),
  check ((end_time is null) = (reason = 'NONE'))
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

create index session_by_create_time on gateway.session (tenant, create_time desc, id desc);
create index session_live on gateway.session (replica_id) where end_time is null;
create index session_ended on gateway.session (end_time) where end_time is not null;
