-- Jobs and their steps. The log of facts and the outbox come from the base migrations.
create table job.job (
  id              uuid primary key,
  tenant          text not null,
  name            text not null,
  labels          jsonb not null,
  -- The spec as the JSON mapping of its message. Read as a whole, never searched.
  spec            json not null,
  priority        int not null,
  source          text not null,
  idempotency_key text,
  request_id      text,
  -- SHA-256 of the spec: the same key with another spec is refused.
  request_hash    bytea not null,
  retry_of        uuid,
  state           text not null
    check (state in ('PENDING', 'RUNNING', 'CANCELLING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT')),
  reason          text not null,
  message         text not null default '',
  result          json,
  -- The number of the job's last fact, and the version that guards every move.
  sequence        int not null check (sequence > 0),
  traceparent     text,
  create_time     timestamptz not null default clock_timestamp(),
  state_time      timestamptz not null default clock_timestamp(),
  start_time      timestamptz,
  end_time        timestamptz,
  deadline_time   timestamptz,
  check ((state in ('SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT')) = (end_time is not null)),
  check (state <> 'RUNNING' or start_time is not null)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

create unique index job_idempotency_key on job.job (tenant, idempotency_key) where idempotency_key is not null;
create unique index job_request_id on job.job (tenant, request_id) where request_id is not null;
create index job_by_create_time on job.job (tenant, create_time desc, id desc);
create index job_by_name on job.job (tenant, name, id);
create index job_by_label on job.job using gin (labels jsonb_path_ops) where labels <> '{}';
create index job_deadline on job.job (deadline_time)
  where deadline_time is not null and state in ('PENDING', 'RUNNING');

create table job.step (
  job_id        uuid not null references job.job on delete cascade,
  name          text not null,
  position      int not null,
  state         text not null
    check (state in ('BLOCKED', 'READY', 'RUNNING', 'BACKOFF', 'SUSPENDED',
                     'SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT', 'SKIPPED')),
  reason        text not null,
  message       text not null default '',
  attempt       int not null check (attempt between 1 and 100),
  execution_id  uuid,
  provider_name text not null default '',
  due_time      timestamptz,
  exit_code     int,
  result        json,
  -- When it is repeated; null means never. The spec has the same, this saves parsing it.
  retry         json,
  state_time    timestamptz not null default clock_timestamp(),
  start_time    timestamptz,
  end_time      timestamptz,
  primary key (job_id, name),
  check (state <> 'BACKOFF' or due_time is not null),
  check ((state in ('SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT', 'SKIPPED')) = (end_time is not null))
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

create index step_due on job.step (due_time) where due_time is not null;
