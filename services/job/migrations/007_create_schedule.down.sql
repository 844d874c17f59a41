drop table job.schedule;
