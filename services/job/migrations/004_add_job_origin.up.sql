-- Where a job comes from. Every index is partial, so that a job that was submitted as a spec is in none of them.
alter table job.job
  add column template         text,
  add column template_version int,
  add column schedule_id      uuid,
  -- The time of the run by the plan; null when somebody asked for it.
  add column scheduled_time   timestamptz,
  add constraint job_template_has_version check ((template is null) = (template_version is null)),
  add constraint job_scheduled_time_has_schedule check (scheduled_time is null or schedule_id is not null);

-- A run of a schedule is submitted once, whatever the code above believes.
create unique index job_scheduled_run on job.job (schedule_id, scheduled_time) where schedule_id is not null;
create index job_by_schedule on job.job (schedule_id, id desc) where schedule_id is not null;
create index job_live_by_schedule on job.job (schedule_id) where schedule_id is not null and end_time is null;
create index job_by_template on job.job (tenant, template, template_version, state) where template is not null;
