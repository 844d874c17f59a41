-- When the step became READY, by the clock of the job context: from then on it waits.
alter table orchestrator.saga add column ready_time timestamptz not null default clock_timestamp();
