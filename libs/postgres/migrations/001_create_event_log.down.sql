drop table broker_epoch;
drop table dead_letter;
drop table outbox;
drop table event;
