alter table execution drop column progress;
delete from execution where kind = 'WORKER';
alter table execution drop constraint execution_kind_check;
alter table execution add constraint execution_kind_check check (kind in ('PROCESS', 'DOCKER'));
drop table worker_pool;
drop table worker;
