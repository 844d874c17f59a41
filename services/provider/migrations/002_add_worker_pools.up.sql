-- Pools of workers. A pool's capacity is that of the workers that are connected, so it may fall under what is in use; no other
-- provider may.
alter table provider.provider
  drop constraint provider_kind_check,
  add constraint provider_kind_check check (kind in ('PROCESS', 'DOCKER', 'WORKER')),
  drop constraint provider_slots_check,
  add constraint provider_slots_check check (slots between (case kind when 'WORKER' then 0 else 1 end) and 100000),
  drop constraint slots_not_over_committed,
  add constraint slots_not_over_committed check (used_slots >= 0 and (kind = 'WORKER' or used_slots <= slots)),
  -- Connected workers: those with the same handlers and labels together, as [{handlers, labels, workers, slots}].
  add column worker_groups jsonb not null default '[]',
  -- When its workers were as they are here, by the clock of those who watch them: an older report changes nothing.
  add column pool_time timestamptz,
  add constraint only_pools_have_workers check (kind = 'WORKER' or worker_groups = '[]'),
  add constraint pool_has_time check ((kind = 'WORKER') = (pool_time is not null));
