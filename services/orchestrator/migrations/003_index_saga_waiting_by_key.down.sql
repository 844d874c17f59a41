drop index orchestrator.saga_waiting_by_key;
