alter table job.job
  drop column scheduled_time,
  drop column schedule_id,
  drop column template_version,
  drop column template;
