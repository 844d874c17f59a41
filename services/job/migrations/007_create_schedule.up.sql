-- Schedules. Whoever submits a run holds the lock of its schedule.
create table job.schedule (
  id             uuid primary key,
  tenant         text not null,
  name           text not null,
  -- The JSON mapping of ScheduleSpec.
  spec           json not null,
  state          text not null check (state in ('ACTIVE', 'PAUSED', 'ENDED')),
  reason         text not null default 'UNSPECIFIED',
  message        text not null default '',
  -- The next run by the plan, and when it is submitted.
  next_time      timestamptz,
  next_fire_time timestamptz,
  last_time      timestamptz,
  last_job_id    uuid,
  -- The run that waits for the one before to end.
  buffered_time  timestamptz,
  fired          bigint not null default 0,
  missed         bigint not null default 0,
  skipped        bigint not null default 0,
  -- Jobs that ended before are not counted as failures.
  failures_since timestamptz not null default clock_timestamp(),
  -- The number of its last fact, and the version that guards every change.
  sequence       int not null check (sequence > 0),
  -- Changes by somebody, for the etag.
  revision       int not null default 1,
  create_time    timestamptz not null,
  update_time    timestamptz not null default clock_timestamp(),
  state_time     timestamptz not null default clock_timestamp(),
  unique (tenant, name),
  check ((next_time is null) = (next_fire_time is null)),
  check (state = 'ACTIVE' or (next_time is null and buffered_time is null))
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

create index schedule_due on job.schedule (next_fire_time) where next_fire_time is not null;
create index schedule_buffered on job.schedule (id) where buffered_time is not null;
