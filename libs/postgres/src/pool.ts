/**
 * The pool of a service. Its settings travel as one `options` start-up parameter, and `ensureRoles` stores the same ones with the
 * role: a PgBouncer in transaction mode needs `ignore_startup_parameters = options` and prepared statements switched on.
 */
import { failpoints } from "@capstan/failpoints";
import { metrics } from "@opentelemetry/api";
import { Pool, types } from "pg";
import { ArrayClient } from "./arrayClient.ts";
import { failingClient } from "./failingClient.ts";
import type { Log } from "./log.ts";

interface PoolOptions {
  readonly url: string;
  /** Becomes the search path: statements need not name it. */
  readonly schema: string;
  /** Connections at most; 5 when absent. */
  readonly max?: number;
  /** How long a statement may take; 10,000 when absent. */
  readonly statementTimeoutMs?: number;
  readonly log: Log;
}

const defaultStatementTimeoutMs = 10_000;

/** What every connection of a service is set to; milliseconds. */
export function sessionSettings(
  schema: string,
  statementTimeoutMs = defaultStatementTimeoutMs,
): Readonly<Record<string, string>> {
  return {
    search_path: schema,
    statement_timeout: `${statementTimeoutMs}`,
    lock_timeout: `${Math.min(3_000, statementTimeoutMs)}`,
    idle_in_transaction_session_timeout: `${1.5 * statementTimeoutMs}`,
    // Every hot statement looks its rows up one by one in an index. A plan that was made while a table was small, and kept, reads or
    // sorts all of it when it has grown, until the next ANALYZE (measured: 2.6 ms of Postgres for a job instead of 0.4).
    enable_seqscan: "off",
    enable_hashjoin: "off",
    enable_mergejoin: "off",
    // Nor in the order of the index that it scans: it read and sorted all that waits to claim the first 500 (18 ms instead of 2).
    enable_bitmapscan: "off",
    // So that a statement with a name is planned once: for an array of one the server thinks that planning anew pays, each time.
    plan_cache_mode: "force_generic_plan",
    // Before 18 a plan that cannot do without is taken for an enormous one, and compiled.
    jit: "off",
  };
}

/**
 * Opens nothing yet: connections are made as they are needed, and made again after they were lost. A bigint or numeric is read as
 * a number, exact up to 2^53. Waits at most 10 s for a free connection. Close it with `end`.
 */
export function openPool(options: PoolOptions): Pool {
  const { url, schema, max = 5, statementTimeoutMs = defaultStatementTimeoutMs, log } = options;
  const pool = new Pool({
    Client: failpoints === null ? ArrayClient : failingClient(failpoints, schema),
    connectionString: url,
    max,
    options: Object.entries(sessionSettings(schema, statementTimeoutMs))
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(" "),
    application_name: `capstan-${schema}`,
    types: { getTypeParser },
    pipeline: true,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    connectionTimeoutMillis: 10_000,
    query_timeout: 1.5 * statementTimeoutMs, // for a server that does not answer at all; the server's own limit comes first
    idleTimeoutMillis: 300_000,
  });
  // Without listeners a connection that is lost would end the process: one for those in the pool, one for those in use.
  // The error carries the whole client, its secrets included: only the message is written.
  pool.on("error", (error) => log.warn({ schema, reason: error.message }, "database connection was lost"));
  pool.on("connect", (client) => client.on("error", () => {}));
  observe(pool, schema, max);
  return pool;
}

const int8 = 20;
const numeric = 1700;

const getTypeParser = ((oid: number, format?: "text" | "binary") =>
  oid === int8 || oid === numeric ? Number : types.getTypeParser(oid, format as "text")) as typeof types.getTypeParser;

/** Names of the OpenTelemetry semantic conventions for database clients. */
function observe(pool: Pool, schema: string, max: number): void {
  const meter = metrics.getMeter("@capstan/postgres");
  const connections = meter.createObservableGauge("db.client.connection.count", { unit: "{connection}" });
  const limit = meter.createObservableGauge("db.client.connection.max", { unit: "{connection}" });
  const waiting = meter.createObservableGauge("db.client.connection.pending_requests", { unit: "{request}" });
  const name = { "db.client.connection.pool.name": schema };
  const read: Parameters<typeof meter.addBatchObservableCallback>[0] = (result) => {
    if (pool.ended) return meter.removeBatchObservableCallback(read, [connections, limit, waiting]);
    result.observe(connections, pool.idleCount, { ...name, "db.client.connection.state": "idle" });
    result.observe(connections, pool.totalCount - pool.idleCount, { ...name, "db.client.connection.state": "used" });
    result.observe(limit, max, name);
    result.observe(waiting, pool.waitingCount, name);
  };
  meter.addBatchObservableCallback(read, [connections, limit, waiting]);
}
