drop index job.job_live;
create index job_live on job.job (state) where end_time is null;
