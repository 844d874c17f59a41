-- Providers and what is reserved on them. The checks repeat the rules of provider.ts, so that no statement can over-commit a
-- provider or disable one in use, whoever writes it.

create table provider.provider (
  id uuid primary key,
  tenant text not null,
  name text collate "C" not null,
  kind text not null check (kind in ('PROCESS', 'DOCKER')),
  state text not null default 'ACTIVE' check (state in ('ACTIVE', 'CORDONED', 'DRAINING', 'DISABLED')),
  health text not null default 'UNKNOWN' check (health in ('UNKNOWN', 'HEALTHY', 'DEGRADED', 'UNHEALTHY')),
  health_message text not null default '',
  health_failures int not null default 0 check (health_failures >= 0),
  health_time timestamptz,
  slots int not null check (slots between 1 and 100000),
  -- 0: not counted, so that any use is within it.
  cpu_millis int not null check (cpu_millis >= 0),
  memory_mib int not null check (memory_mib >= 0),
  -- Sums over live reservations. Wider than the capacity, because what is not counted may grow past an int.
  used_slots int not null default 0,
  used_cpu_millis bigint not null default 0,
  used_memory_mib bigint not null default 0,
  live_reservations int not null default 0,
  made_reservations bigint not null default 0,
  expired_reservations bigint not null default 0,
  last_chosen bigint not null default 0,
  labels jsonb not null default '{}',
  endpoint text not null default '',
  version int not null default 1,
  sequence int not null default 1,
  create_time timestamptz not null default clock_timestamp(),
  update_time timestamptz not null default clock_timestamp(),
  unique (tenant, name),
  constraint slots_not_over_committed check (used_slots between 0 and slots),
  constraint cpu_not_over_committed check (used_cpu_millis >= 0 and (cpu_millis = 0 or used_cpu_millis <= cpu_millis)),
  constraint memory_not_over_committed check (used_memory_mib >= 0 and (memory_mib = 0 or used_memory_mib <= memory_mib)),
  constraint live_reservations_take_slots check (live_reservations between 0 and used_slots),
  constraint disabled_is_empty check (state <> 'DISABLED' or live_reservations = 0),
  constraint known_health_has_time check ((health = 'UNKNOWN') = (health_time is null))
) with (
  -- Every batch of reservations rewrites its provider's row: room on the page keeps that update off the indexes.
  fillfactor = 50,
  autovacuum_vacuum_threshold = 500,
  autovacuum_vacuum_scale_factor = 0
);

-- One row per execution, and one per reservation that was released before it was made (no provider): its late arrival holds
-- nothing. provider_id is no foreign key on purpose: a provider with live reservations cannot be deleted, and ended ones stay
-- until they are pruned, so that a repeated command is answered as before.
create table provider.reservation (
  id uuid primary key,
  tenant text,
  provider_id uuid,
  job_id uuid,
  job_name text,
  slots int not null default 0 check (slots >= 0),
  cpu_millis int not null default 0 check (cpu_millis >= 0),
  memory_mib int not null default 0 check (memory_mib >= 0),
  state text not null check (state in ('HELD', 'CONFIRMED', 'RELEASED', 'EXPIRED')),
  -- How it was chosen, to give the same answer again.
  score double precision not null default 0,
  message text not null default '',
  create_time timestamptz not null default clock_timestamp(),
  expire_time timestamptz,
  end_time timestamptz,
  constraint made_has_place check (
    (provider_id is null and state = 'RELEASED')
    or (provider_id is not null and tenant is not null and job_id is not null and job_name is not null and slots > 0)
  ),
  constraint held_expires check ((state = 'HELD') = (expire_time is not null)),
  constraint ended_has_time check ((state in ('RELEASED', 'EXPIRED')) = (end_time is not null))
) with (
  -- Each row is written three times and read by its id meanwhile.
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_analyze_scale_factor = 0.02
);

-- What lives on a provider; SPREAD counts it by job name.
create index reservation_live on provider.reservation (provider_id, job_name) where end_time is null;
create index reservation_held on provider.reservation (expire_time) where expire_time is not null;
create index reservation_ended on provider.reservation (end_time) where end_time is not null;
