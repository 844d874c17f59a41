alter table job.step add constraint step_running_has_start check (state <> 'RUNNING' or start_time is not null);
