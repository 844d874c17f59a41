alter table orchestrator.saga
  drop column is_held,
  drop column hold_time;
