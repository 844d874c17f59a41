create index saga_live_by_job on orchestrator.saga (job_id) where stage not in ('DONE', 'COMPENSATED');
