drop table provider.reservation;
drop table provider.provider;
