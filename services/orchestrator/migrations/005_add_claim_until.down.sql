alter table orchestrator.saga drop column claim_until;
