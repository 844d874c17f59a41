drop table job.errand;
drop table job.signal;
drop index job.step_suspended;
alter table job.step drop column child_job_id;
drop index job.job_by_retry;
alter table job.job
  drop column pause_time,
  drop column rerun_of,
  drop column parent_job_id,
  drop column parent_step,
  drop column parent_attempt,
  drop column depth;
