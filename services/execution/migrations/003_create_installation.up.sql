-- Names this installation on engines it shares with others, so that it never reaps what is not its own. One row for ever.
create table installation (
  id uuid primary key default gen_random_uuid(),
  is_only boolean not null default true unique check (is_only)
);

insert into installation default values;
