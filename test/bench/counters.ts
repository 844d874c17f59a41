/**
 * What a job costs: the counters of Postgres, JetStream, the gRPC server and the kernel, read before and after some jobs. What is
 * still done after the last job's end (reservations released, outboxes emptied) counts as theirs, so that a second is waited for it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Client } from "pg";
import type { Figures } from "./figures.ts";
import { cpuMs } from "./processes.ts";

export interface Sources {
  readonly admin: Client;
  /** The database whose statements and rows are counted. */
  readonly database: string;
  /** Root process ids, by what the table calls them. */
  readonly processes: Readonly<Record<string, readonly number[]>>;
  /** Whose streams are counted; null where there are none. */
  readonly nats: NatsConnection | null;
  /** Calls answered so far; null where there are none. */
  readonly rpcs: (() => Promise<number>) | null;
}

// A session of Postgres tells of its rows when it has been idle for 10 s, and until then of none of its last second's.
const rowsAreToldAfterMs = 11_000;
const trailingWorkMs = 1_000;

/** Measures what `work` costs each of its jobs, and notes it. */
export async function noteCosts(
  figures: Figures,
  of: string,
  jobs: number,
  sources: Sources,
  work: () => Promise<void>,
) {
  await sleep(rowsAreToldAfterMs);
  const before = await readCounts(sources);
  const rowsBefore = await rowsWritten(sources);
  await work();
  await sleep(trailingWorkMs);
  const after = await readCounts(sources);
  await sleep(rowsAreToldAfterMs);
  const rows = (await rowsWritten(sources)) - rowsBefore;
  const each = (name: string) => ((after.get(name) ?? 0) - (before.get(name) ?? 0)) / jobs;

  const names = Object.keys(sources.processes);
  figures.note(
    `CPU per ${of}, all processes`,
    "ms",
    names.reduce((sum, name) => sum + each(name), 0),
  );
  for (const name of names) figures.note(`CPU per ${of}, ${name}`, "ms", each(name));
  figures.note(`SQL statements per ${of}`, "", each("statements"));
  figures.note(`rows written per ${of}`, "", rows / jobs);
  figures.note(`WAL per ${of}`, "bytes", each("walBytes"));
  if (sources.nats !== null) figures.note(`JetStream messages per ${of}`, "", each("messages"));
  if (sources.rpcs !== null) figures.note(`RPCs per ${of}`, "", each("rpcs"));
}

async function readCounts(sources: Sources): Promise<ReadonlyMap<string, number>> {
  const cpu = Object.entries(sources.processes).map(([name, pids]) => [name, cpuMs(pids)] as const);
  const [calls, wal] = [await statements(sources.admin, sources.database), await walBytes(sources.admin)];
  const messages = sources.nats === null ? 0 : await messagesOf(sources.nats);
  const rpcs = sources.rpcs === null ? 0 : await sources.rpcs();
  return new Map([...cpu, ["statements", calls], ["walBytes", wal], ["messages", messages], ["rpcs", rpcs]]);
}

/**
 * Statements that clients have sent to a database so far, `begin` and `commit` among them. The checks of foreign keys (`from only`)
 * are left out: Postgres makes them itself, and counts them as if they had been sent.
 */
export async function statements(admin: Client, database: string): Promise<number> {
  const { rows } = await admin.query<{ calls: string | null }>(
    `select sum(calls) as calls from pg_stat_statements
      where toplevel and query !~* '^(select .* from|delete from|update) only ' and dbid = (select oid from pg_database where datname = $1)`,
    [database],
  );
  return Number(rows[0]?.calls ?? 0);
}

async function rowsWritten({ admin, database }: Sources): Promise<number> {
  const { rows } = await admin.query<{ written: string }>(
    `select tup_inserted + tup_updated + tup_deleted as written from pg_stat_database where datname = $1`,
    [database],
  );
  return Number(rows[0]?.written);
}

async function walBytes(admin: Client): Promise<number> {
  const { rows } = await admin.query<{ bytes: string }>("select pg_current_wal_lsn() - '0/0'::pg_lsn as bytes");
  return Number(rows[0]?.bytes);
}

async function messagesOf(nats: NatsConnection): Promise<number> {
  const manager = await jetstreamManager(nats);
  const streams = await Array.fromAsync(manager.streams.list());
  return streams.reduce((sum, { state }) => sum + state.last_seq, 0);
}

// Autovacuum looks every 10 s whether there is something for it.
const quietChecks = 4;
const quietCheckMs = 3_000;

/** Answers when for 12 s no fact was published and nothing was vacuumed: what came before leaves work behind. */
export async function untilQuiet({ admin, nats }: Sources): Promise<void> {
  const giveUp = performance.now() + 180_000;
  let [before, quiet] = [Number.NaN, 0];
  while (quiet < quietChecks && performance.now() < giveUp) {
    await sleep(quietCheckMs);
    const messages = nats === null ? 0 : await messagesOf(nats);
    const { rowCount } = await admin.query("select from pg_stat_activity where backend_type = 'autovacuum worker'");
    quiet = messages === before && rowCount === 0 ? quiet + 1 : 0;
    before = messages;
  }
  if (quiet < quietChecks) process.stderr.write("  not quiet after 180 s; measured as it is\n");
}
