-- The next of one key, however many others wait before it.
create index saga_waiting_by_key on orchestrator.saga (placement_key, priority desc, position) where stage = 'WAITING';
