drop table orchestrator.wait_timer;
