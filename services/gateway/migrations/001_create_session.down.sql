drop table gateway.session;
drop table gateway.replica;
