alter table job.step drop constraint step_running_has_start;
