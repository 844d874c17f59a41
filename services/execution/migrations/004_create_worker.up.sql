-- Users' processes that run handlers, as long as they are connected or their lease is not over; what they said of themselves.
create table worker (
  id uuid primary key,
  tenant text not null,
  pool text not null,
  slots int not null check (slots between 1 and 10000),
  handlers text[] not null,
  labels json not null,
  sdk text not null,
  host text not null,
  -- The runner it is connected to, or was last.
  runner_id uuid not null,
  -- A silent one is waited for until its lease is over; a draining one takes nothing more. Neither counts as capacity.
  is_connected boolean not null default true,
  is_draining boolean not null default false,
  create_time timestamptz not null default clock_timestamp(),
  lease_until timestamptz not null
)
with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

-- Every pool that a worker was ever in, so that one without workers is reported too.
create table worker_pool (
  tenant text not null,
  name text not null,
  primary key (tenant, name)
);

alter table execution drop constraint execution_kind_check;
alter table execution add constraint execution_kind_check check (kind in ('PROCESS', 'DOCKER', 'WORKER'));

-- The last word of a handler on how far it is; null until it said one.
alter table execution add column progress json;
