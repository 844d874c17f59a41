drop index orchestrator.saga_counted;
drop index orchestrator.saga_waiting;
create index saga_waiting on orchestrator.saga (priority desc, position) where stage = 'WAITING';
create index saga_waiting_by_key on orchestrator.saga (placement_key, priority desc, position) where stage = 'WAITING';
alter table orchestrator.saga
  drop column queue, drop column concurrency_key, drop column order_time, drop column deadline_time, drop column is_counted,
  drop column reason_time;
drop table orchestrator.begun;
drop table orchestrator.queue;
