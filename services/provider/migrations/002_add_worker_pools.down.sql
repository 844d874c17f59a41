-- What is reserved on a pool has no place to go back to: its executions end by their own leases.
delete from provider.reservation where provider_id in (select id from provider.provider where kind = 'WORKER');
delete from provider.provider where kind = 'WORKER';
alter table provider.provider
  drop constraint pool_has_time,
  drop constraint only_pools_have_workers,
  drop column pool_time,
  drop column worker_groups,
  drop constraint slots_not_over_committed,
  add constraint slots_not_over_committed check (used_slots between 0 and slots),
  drop constraint provider_slots_check,
  add constraint provider_slots_check check (slots between 1 and 100000),
  drop constraint provider_kind_check,
  add constraint provider_kind_check check (kind in ('PROCESS', 'DOCKER'));
