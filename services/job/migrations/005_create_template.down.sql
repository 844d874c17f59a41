drop table job.template_version;
drop table job.template;
drop function job.keep_template_version();
