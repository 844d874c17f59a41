-- Jobs that live are counted by state whenever somebody scrapes; those that have ended are many and need no counting.
create index job_live on job.job (state) where end_time is null;
