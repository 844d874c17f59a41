drop table orchestrator.saga;
