alter table outbox rename to outbox_together;

create table outbox (
  position     bigint generated always as identity primary key,
  aggregate_id uuid not null,
  sequence     int not null,
  unique (aggregate_id, sequence)
) with (
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 100000
);

insert into outbox (aggregate_id, sequence)
select listed.aggregate_id, listed.sequence
  from outbox_together
       cross join lateral unnest(aggregate_ids, sequences) with ordinality as listed (aggregate_id, sequence, turn)
 order by position, turn
on conflict do nothing;

drop table outbox_together;
