delete from job.step where parent is not null;
alter table job.step drop column parent, drop column item_index;
alter table job.job drop column is_workflow, drop column queue, drop column concurrency_key, drop column ending;
