-- Its job is paused, as a fact of this time said. In no index: few are, and for a while.
alter table orchestrator.saga
  add column is_held   boolean not null default false,
  add column hold_time timestamptz not null default '-infinity';
