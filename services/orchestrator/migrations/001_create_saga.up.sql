-- One row per attempt of a step; its id is the reservation's and the execution's too. The log of facts, outbox and dead letters come from the base migrations.
create table orchestrator.saga (
  id            uuid primary key,
  tenant        text not null,
  job_id        uuid not null,
  job_name      text not null,
  step          text not null,
  attempt       int not null check (attempt > 0),
  priority      int not null,
  -- Orders what has the same priority.
  position      bigint generated always as identity,
  spec          json not null,
  traceparent   text,
  -- Sagas with the same key can be placed on the same providers: when one is refused, so are the others.
  placement_key text not null,
  stage         text not null
    check (stage in ('WAITING', 'RESERVED', 'STARTED', 'SETTLING', 'DONE', 'COMPENSATING', 'COMPENSATED', 'PARKED')),
  reason        text not null,
  message       text not null default '',
  placed        json,
  outcome       json,
  failures      int not null default 0,
  parked_stage  text,
  version       int not null default 1,
  sequence      int not null default 0,
  wakeup_time   timestamptz,
  create_time   timestamptz not null default clock_timestamp(),
  stage_time    timestamptz not null default clock_timestamp(),
  unique (job_id, step, attempt),
  -- A live saga cannot sleep for ever.
  check ((stage in ('DONE', 'COMPENSATED', 'PARKED')) = (wakeup_time is null)),
  check ((stage = 'PARKED') = (parked_stage is not null)),
  check (stage not in ('RESERVED', 'STARTED') or placed is not null),
  check (stage <> 'SETTLING' or outcome is not null)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

create index saga_waiting on orchestrator.saga (priority desc, position) where stage = 'WAITING';
create index saga_wakeup on orchestrator.saga (wakeup_time)
  where stage in ('RESERVED', 'STARTED', 'SETTLING', 'COMPENSATING');
create index saga_live_by_job on orchestrator.saga (job_id) where stage not in ('DONE', 'COMPENSATED');
create index saga_by_create_time on orchestrator.saga (tenant, create_time desc, id desc);
