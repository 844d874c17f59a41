-- The unique index begins with the job. This one was written with each move of a saga, and a plan made while the table was small
-- could read the whole of it to find one.
drop index orchestrator.saga_live_by_job;
