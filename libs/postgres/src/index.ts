/** Postgres as every service uses it: a pool, transactions, migrations, and the log of facts with its relay. */
export type { Pool } from "pg";
export type { Db, Statement } from "./db.ts";
export { appendFacts, type Fact, listFacts, requeueFacts, requeueTerminalFacts, type StoredFact } from "./facts.ts";
export { type Figure, startGauge } from "./gauge.ts";
export type { Log } from "./log.ts";
export { type MigrateOptions, migrate, migrationStatus } from "./migrate.ts";
export { openPool } from "./pool.ts";
export { type Loops, type Relay, startRelay } from "./relay.ts";
export { appendRepair, createRepairs, type Repair, type TellRepair } from "./repairs.ts";
export { ensureRoles, roleUrl } from "./roles.ts";
export { inTransaction } from "./transaction.ts";
export { isUuid, uuidv5, uuidv7 } from "./uuid.ts";
