-- Few are parked, and operators ask for just those, beside whatever has ended. What goes its normal way is never in it.
create index saga_parked on orchestrator.saga (tenant, create_time desc, id desc) where stage = 'PARKED';
