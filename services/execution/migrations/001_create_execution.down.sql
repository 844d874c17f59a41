drop table runner;

drop table execution;
