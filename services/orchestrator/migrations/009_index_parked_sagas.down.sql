drop index orchestrator.saga_parked;
