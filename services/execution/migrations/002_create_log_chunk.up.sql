-- Output as it came, the same rows for live and archived logs. Append only.
create table log_chunk (
  execution_id uuid not null,
  -- 1, 2, 3 in the order in which chunks came, over both streams.
  sequence int not null check (sequence > 0),
  -- 1 is stdout, 2 is stderr.
  stream smallint not null check (stream in (1, 2)),
  -- Where the first byte stands in its stream.
  byte_offset bigint not null check (byte_offset >= 0),
  data bytea not null,
  time timestamptz not null default clock_timestamp(),
  primary key (execution_id, sequence)
);
