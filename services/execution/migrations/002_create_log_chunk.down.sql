drop table log_chunk;
