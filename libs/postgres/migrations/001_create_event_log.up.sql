-- The log of facts and the list of those not yet published, the same in every schema.

create table event (
  aggregate_id   uuid not null,
  sequence       int not null check (sequence > 0),
  id             uuid not null,
  tenant         text not null,
  noun           text not null,
  event          text not null,
  correlation_id text not null,
  causation_id   text not null,
  traceparent    text,
  is_terminal    boolean not null default false,
  data           json not null,
  time           timestamptz not null default clock_timestamp(),
  primary key (aggregate_id, sequence)
);

-- Nothing ends twice, whatever the code above believes.
create unique index one_terminal_fact on event (aggregate_id) where is_terminal;

-- For publishing again what a lost stream held; rows arrive in the order of time, so that a few bytes per page range do.
create index event_time on event using brin (time);

create table outbox (
  position     bigint generated always as identity primary key,
  aggregate_id uuid not null,
  sequence     int not null,
  unique (aggregate_id, sequence)
) with (
  -- Every row is deleted moments after its insert. Without eager vacuum the relay reads over the dead ones.
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 100000
);

create table dead_letter (
  id              uuid primary key,
  stream          text not null,
  stream_sequence bigint not null,
  subject         text not null,
  headers         json not null,
  data            bytea not null,
  error           text not null,
  deliveries      int not null,
  create_time     timestamptz not null default clock_timestamp(),
  resolve_time    timestamptz
);

-- When the stream was made to which facts are published. Another time means another stream: what the old one held is gone.
create table broker_epoch (
  stream      text primary key,
  created     timestamptz not null,
  update_time timestamptz not null default clock_timestamp()
);
