-- One attempt of one step on one provider. The constraints repeat the table of moves in execution.ts.
create table execution (
  id uuid primary key,
  tenant text not null,
  job_id uuid not null,
  step text not null,
  attempt int not null check (attempt > 0),
  -- Null where the execution was stopped before it was assigned: a mark, so that a late start runs nothing.
  provider_id uuid,
  provider_name text not null default '',
  kind text check (kind in ('PROCESS', 'DOCKER')),
  endpoint text not null default '',
  spec json,
  traceparent text,
  state text not null check (
    state in ('ASSIGNED', 'STARTING', 'RUNNING', 'STOPPING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT', 'LOST')
  ),
  reason text not null default 'UNSPECIFIED',
  message text not null default '',
  exit_code int,
  signal text not null default '',
  result json,
  external_ref text not null default '',
  -- All times by this database's clock, so that limits can be compared without skew.
  create_time timestamptz not null default clock_timestamp(),
  start_time timestamptz,
  end_time timestamptz,
  -- The number of its last fact.
  sequence int not null default 0,
  lease_owner uuid,
  fence bigint not null default 1,
  stdout_bytes bigint not null default 0,
  stderr_bytes bigint not null default 0,
  log_lines bigint not null default 0,
  log_dropped_bytes bigint not null default 0,
  -- Hex; empty until the log is sealed, which is when the execution ends.
  log_sha256 text not null default '',
  log_has_gap boolean not null default false,
  constraint ends_once check ((end_time is not null) = (state in ('SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT', 'LOST'))),
  constraint runs_somewhere check (provider_id is not null or state = 'CANCELLED'),
  constraint live_has_owner check (end_time is not null or lease_owner is not null),
  constraint running_has_started check (state <> 'RUNNING' or start_time is not null)
)
with (
  fillfactor = 80,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0.05
);

-- On end_time and not on state, so that STARTING -> RUNNING touches no index.
create index live_execution on execution (lease_owner) where end_time is null;

create index execution_of_job on execution ((job_id::text), attempt);

create index newest_execution on execution (tenant, create_time desc, id desc);

-- One row per process that runs executions; its heartbeat is the lease of all its executions.
create table runner (
  id uuid primary key,
  -- Host, boot and pid namespace: two runners with the same one see each other's pids.
  host text not null,
  pid int not null,
  -- Field 22 of /proc/<pid>/stat: with it a pid that was given out again is told apart.
  pid_start bigint not null,
  create_time timestamptz not null default clock_timestamp(),
  lease_until timestamptz not null
)
with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
