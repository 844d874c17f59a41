-- Jobs of several steps. Those of one step that is an execution are as they were: the spec of the others is a plan they are moved by.
alter table job.job
  add column is_workflow     boolean not null default false,
  add column queue           text not null default 'default',
  add column concurrency_key text not null default '',
  -- How it is going to end, while compensations or hooks still run: the outcome with its reason.
  add column ending          json;

-- An item of a `for_each` is a step too: of which, and the how manyth.
alter table job.step
  add column parent     text,
  add column item_index int,
  add check ((parent is null) = (item_index is null));
