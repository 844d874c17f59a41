alter table orchestrator.saga drop column ready_time;
