drop index job.job_bounded;
alter table job.job drop column is_bounded;
drop table job.queue_limit;
