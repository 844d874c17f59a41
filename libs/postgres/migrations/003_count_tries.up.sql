-- Facts that were delivered again and again, and how many processes have begun to handle each by itself: which of them ends a process
-- cannot be told from deliveries, which count for all that were on their way when it ended.
create table suspect (
  durable     text not null,
  fact_id     text not null,
  tries       int not null default 1,
  update_time timestamptz not null default clock_timestamp(),
  primary key (durable, fact_id)
);
