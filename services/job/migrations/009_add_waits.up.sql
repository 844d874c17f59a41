-- Steps that wait for somebody, and the jobs they belong to. All indexes are partial: a job that never waits is in none of them.
alter table job.job
  -- Since when nothing of it begins.
  add column pause_time     timestamptz,
  add column rerun_of       uuid,
  -- The step that submitted it, and how many jobs are above it.
  add column parent_job_id  uuid,
  add column parent_step    text,
  add column parent_attempt int,
  add column depth          int not null default 0,
  add constraint job_parent_is_whole check (
    (parent_job_id is null) = (parent_step is null) and (parent_job_id is null) = (parent_attempt is null));
create index job_paused on job.job (id) where pause_time is not null;
create index job_by_retry on job.job (retry_of, id) where retry_of is not null;
create index job_by_rerun on job.job (rerun_of, id) where rerun_of is not null;
create index job_by_parent on job.job (parent_job_id, id) where parent_job_id is not null;

alter table job.step add column child_job_id uuid;
create index step_suspended on job.step (reason, job_id) where state = 'SUSPENDED';

-- Signals to jobs. Those that no step has taken yet are kept for the next that waits for them, in their order.
create table job.signal (
  job_id      uuid not null references job.job on delete cascade,
  number      bigint generated always as identity,
  name        text not null,
  request_id  text,
  -- Null once it was taken: the step has it as its result.
  payload     json,
  -- The step that has taken it.
  step        text,
  create_time timestamptz not null default clock_timestamp(),
  primary key (job_id, number)
);
create unique index signal_request on job.signal (job_id, request_id) where request_id is not null;
create index signal_kept on job.signal (job_id, number) where step is null;

-- What is to be done between a job and its sub-jobs, each in a transaction of its own: whoever moves one never waits for the other.
create table job.errand (
  child_job_id  uuid not null,
  kind          text not null check (kind in ('SUBMIT', 'CANCEL', 'TELL')),
  parent_job_id uuid not null,
  step          text not null,
  attempt       int not null,
  -- What to submit: the JSON mapping of its TemplateUse, expressions filled in.
  template      json,
  -- When it times out at the latest; null for when it says itself.
  deadline_time timestamptz,
  -- Why it could not be submitted.
  refusal       text,
  primary key (child_job_id, kind),
  check ((kind = 'SUBMIT') = (template is not null))
);
