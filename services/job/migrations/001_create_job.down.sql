drop table job.step;
drop table job.job;
