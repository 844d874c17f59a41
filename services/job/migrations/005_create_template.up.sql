-- Templates and their versions. Whoever changes a version holds the lock of its template.
create table job.template (
  id          uuid primary key,
  tenant      text not null,
  name        text not null,
  -- The number of the last fact of any version.
  sequence    int not null check (sequence > 0),
  create_time timestamptz not null default clock_timestamp(),
  unique (tenant, name)
);

create table job.template_version (
  template_id  uuid not null references job.template on delete cascade,
  version      int not null check (version > 0),
  state        text not null check (state in ('DRAFT', 'PUBLISHED', 'DEPRECATED', 'ARCHIVED')),
  -- The JSON mapping of TemplateSpec. Read as a whole, never searched.
  spec         json not null,
  -- Guards every change, and is the etag.
  revision     int not null default 1,
  create_time  timestamptz not null default clock_timestamp(),
  update_time  timestamptz not null default clock_timestamp(),
  publish_time timestamptz,
  primary key (template_id, version),
  check (state <> 'PUBLISHED' or publish_time is not null)
);

-- One draft at a time.
create unique index template_draft on job.template_version (template_id) where state = 'DRAFT';

-- What was published is what jobs say they were made from: it never changes, whatever the code above believes.
create function job.keep_template_version() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or new.spec::text <> old.spec::text or new.version <> old.version or new.template_id <> old.template_id
     or new.state = 'DRAFT' then
    raise exception 'version % of template % is % and never changes', old.version, old.template_id, old.state
      using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end $$;

create trigger keep_template_version before update or delete on job.template_version
  for each row when (old.state <> 'DRAFT') execute function job.keep_template_version();
