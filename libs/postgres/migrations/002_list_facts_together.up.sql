-- One row lists the facts that were appended together, instead of one row for each: a list that is filled and emptied all the time
-- costs by its rows.
alter table outbox rename to outbox_by_fact;

create table outbox (
  position      bigint generated always as identity primary key,
  aggregate_ids uuid[] not null,
  sequences     int[] not null,
  check (cardinality(aggregate_ids) = cardinality(sequences) and cardinality(sequences) > 0)
) with (
  -- Every row is deleted moments after its insert. Without eager vacuum the relay reads over the dead ones.
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 100000
);
-- Ids do not compress.
alter table outbox alter column aggregate_ids set storage external, alter column sequences set storage external;

insert into outbox (aggregate_ids, sequences)
select array[aggregate_id], array[sequence] from outbox_by_fact order by position;

drop table outbox_by_fact;
