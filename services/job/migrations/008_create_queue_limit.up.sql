-- How deep a queue may be, as the orchestrator has told.
create table job.queue_limit (
  tenant           text not null,
  queue            text not null,
  max_depth        int not null check (max_depth > 0),
  drain_per_second float8 not null default 0,
  update_time      timestamptz not null default clock_timestamp(),
  primary key (tenant, queue)
);
-- Only jobs of such queues are counted, so that all others are in no index for it.
alter table job.job add column is_bounded boolean not null default false;
create index job_bounded on job.job (tenant, queue) where is_bounded and state = 'PENDING';
