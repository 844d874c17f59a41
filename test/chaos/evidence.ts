/**
 * All that was seen from outside, as temporary tables beside the services' own, so that each rule is one statement: what the client
 * did (`chk_submit`, `chk_cancel`, `chk_sight`), what workloads wrote (`chk_effect`), what the streams hold (`chk_message`,
 * `chk_consumer`), what the engine told (`chk_start`), and what is still there (`chk_container`, `chk_process`, `chk_memory`).
 */
import type { Client } from "pg";
import type { ContainerEvent, ContainerSeen } from "./engine.ts";
import type { History } from "./history.ts";
import type { Effect } from "./ledger.ts";
import type { MemorySeen } from "./memory.ts";
import type { ProcessSeen } from "./processes.ts";
import type { Streams } from "./streams.ts";

export interface Evidence {
  readonly history: History;
  readonly effects: readonly Effect[];
  readonly streams: Streams;
  readonly containerEvents: readonly ContainerEvent[];
  readonly containers: readonly ContainerSeen[];
  readonly processes: readonly ProcessSeen[];
  readonly memory: readonly MemorySeen[];
}

const tables = `
  drop table if exists chk_submit, chk_cancel, chk_sight, chk_missing, chk_effect, chk_message, chk_consumer, chk_start, chk_container, chk_process, chk_memory, chk_fact, chk_aggregate;
  create temporary table chk_submit (key text, kind text, outcome text, job_id uuid, code text, time_ms float8);
  create temporary table chk_cancel (job_id uuid, outcome text, time_ms float8);
  create temporary table chk_sight (observer text, job_id uuid, how text, place int, sequence int, type text);
  create temporary table chk_missing (job_id uuid);
  create temporary table chk_effect (event text, execution_id uuid, job_id uuid, attempt int, time_ms float8, by text);
  create temporary table chk_message (context text, position bigint, id uuid, aggregate_id uuid, sequence int, type text);
  create temporary table chk_consumer (name text, delivered bigint, pending bigint, in_hand bigint, last bigint);
  create temporary table chk_start (execution_id uuid, action text, time_ms float8);
  create temporary table chk_container (execution_id uuid, installation text, is_running boolean);
  create temporary table chk_process (execution_id uuid, pid int);
  create temporary table chk_memory (label text, warm_mib float8, quiet_mib float8);`;

/** The logs of all services together, and the aggregates that have a version and an end of their own. */
const derived = `
  create temporary table chk_fact as
    ${["job", "provider", "execution", "orchestrator"]
      .map(
        (schema) =>
          `select '${schema}' as context, aggregate_id, sequence, id, noun, event, is_terminal, data::jsonb as data, time from ${schema}.event`,
      )
      .join(" union all ")};
  create index on chk_fact (context, aggregate_id, sequence);
  create index on chk_fact (id);
  create index on chk_message (id);
  create index on chk_effect (execution_id);
  create index on chk_submit (key);
  create temporary table chk_aggregate as
    select 'job' as context, 'job' as noun, id, sequence, state, end_time from job.job
    union all select 'execution', 'execution', id, sequence, state, end_time from execution.execution;
  create index on chk_aggregate (context, id);
  analyze chk_fact, chk_message, chk_effect, chk_submit, chk_aggregate, chk_sight;`;

/** Lays the tables out anew in this session. */
export async function layOut(client: Pick<Client, "query">, evidence: Evidence): Promise<void> {
  const { history, effects, streams, containerEvents, containers, processes, memory } = evidence;
  await client.query(tables);
  const fill = (table: string, rows: readonly object[]) => insert(client, table, rows);
  await fill("chk_submit", history.submits);
  await fill("chk_cancel", history.cancels);
  await fill("chk_sight", history.sights);
  await fill(
    "chk_missing",
    history.missing.map((jobId) => ({ jobId })),
  );
  await fill("chk_effect", effects);
  await fill("chk_message", streams.messages);
  await fill("chk_consumer", streams.consumers);
  await fill("chk_start", containerEvents);
  await fill("chk_container", containers);
  await fill("chk_process", processes);
  await fill("chk_memory", memory);
  await client.query(derived);
}

const chunk = 20_000;

/** Fields by name, `jobId` to `job_id`; what the table does not have is left out. */
async function insert(client: Pick<Client, "query">, table: string, rows: readonly object[]): Promise<void> {
  for (let at = 0; at < rows.length; at += chunk) {
    const part = rows.slice(at, at + chunk).map((row) => {
      const entries = Object.entries(row).map(([name, value]) => [
        name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`),
        value,
      ]);
      return Object.fromEntries(entries);
    });
    await client.query(`insert into ${table} select * from json_populate_recordset(null::${table}, $1::json)`, [
      JSON.stringify(part),
    ]);
  }
}
