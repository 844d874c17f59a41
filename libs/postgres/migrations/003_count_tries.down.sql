drop table suspect;
