-- When it is looked whether a queue wants something done about an attempt that waits. Only of queues that want anything.
create table orchestrator.wait_timer (
  saga_id  uuid primary key,
  due_time timestamptz not null,
  -- The rules that were followed, as reason and action.
  done     text[] not null default '{}'
) with (autovacuum_vacuum_scale_factor = 0.02);
create index wait_timer_due on orchestrator.wait_timer (due_time);
