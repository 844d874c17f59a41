-- What a queue allows. A name without a row works as a queue with the settings of a new one.
create table orchestrator.queue (
  tenant        text not null,
  name          text not null,
  settings      json not null,
  is_paused     boolean not null default false,
  pause_message text not null default '',
  pause_time    timestamptz,
  version       int not null default 1,
  sequence      int not null default 1,
  id            uuid not null,
  create_time   timestamptz not null default clock_timestamp(),
  update_time   timestamptz not null default clock_timestamp(),
  primary key (tenant, name),
  check (is_paused = (pause_time is not null))
);

-- What a queue with a rate limit has begun; nothing is read of it after the period, and it is removed then.
create table orchestrator.begun (
  saga_id         uuid primary key,
  tenant          text not null,
  queue           text not null,
  concurrency_key text not null,
  begin_time      timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0.02);
create index begun_by_queue on orchestrator.begun (tenant, queue, begin_time);

alter table orchestrator.saga
  add column queue           text not null default 'default',
  add column concurrency_key text not null default '',
  -- When it became READY, earlier by what its priority is worth: waiting and priority in one order that never changes.
  add column order_time      timestamptz not null default clock_timestamp(),
  add column deadline_time   timestamptz,
  -- Its queue has limits, and it was claimed under them. False of all others, so that they are in no index for it.
  add column is_counted      boolean not null default false,
  -- Since when a WAITING saga has its reason; null: since it began to wait.
  add column reason_time     timestamptz;
update orchestrator.saga set order_time = ready_time - priority * interval '1 minute' where stage = 'WAITING';

-- One list for each tenant, queue, key and kind of place, each in its order. Serves the next of one list, and skips from list to list.
drop index orchestrator.saga_waiting;
drop index orchestrator.saga_waiting_by_key;
create index saga_waiting on orchestrator.saga
  (tenant, queue, concurrency_key, placement_key, order_time, deadline_time, position) where stage = 'WAITING';
create index saga_counted on orchestrator.saga (tenant, queue, concurrency_key) where is_counted;
