-- Until when a replica places it. In no index, so that a claim rewrites the row on its page and touches no index.
alter table orchestrator.saga add column claim_until timestamptz not null default '-infinity';
