drop index job.job_live;
