/**
 * The log of facts: what happened to the aggregates of a schema, and which of it is not yet published. A fact is written in the
 * transaction of the change it tells of, or not at all.
 */
import type { Pool } from "pg";
import type { Db } from "./db.ts";
import { noteFacts, noteListedAgain } from "./freshFacts.ts";
import { awaitWithCommit, inTransaction } from "./transaction.ts";

/** Something that happened to an aggregate, in the past tense, as it is written with the change it tells of. */
export interface Fact {
  /** UUID v7; it is the `Nats-Msg-Id` too, so that JetStream recognises a repetition. */
  readonly id: string;
  readonly tenant: string;
  /** What it happened to, as in the subject: `job`, `step`, `execution`. */
  readonly noun: string;
  /** What happened, in the past tense: `submitted`, `succeeded`. */
  readonly event: string;
  readonly aggregateId: string;
  /** Per aggregate, from 1, gap-free. */
  readonly sequence: number;
  /** The job this belongs to, or "". */
  readonly correlationId: string;
  /** Id of the fact or command that led here, or "". */
  readonly causationId: string;
  /** W3C trace context of who caused it; null when nobody traces. */
  readonly traceparent: string | null;
  /** The JSON mapping of the event's proto message. */
  readonly data: object;
  /** The last fact of its aggregate: the database refuses a second one. */
  readonly isTerminal?: boolean;
}

/** A fact as the log holds it. Its data is text only: many wait to be published, and parsed they would be several times as large. */
export interface StoredFact extends Omit<Fact, "data"> {
  /** The schema it was written in, which is the context that publishes it. */
  readonly context: string;
  /** When it was written, by the database's clock. */
  readonly time: Date;
  /** The data as it is published. */
  readonly json: string;
}

/** Bytes of a fact's data at most: with subject and headers it must fit a message of the stream, 512 KiB. */
export const maxFactBytes = 480 * 1024;

const appendText = `
  with clock as materialized (
    select clock_timestamp() as time
  ), logged as (
    insert into event (aggregate_id, sequence, id, tenant, noun, event, correlation_id, causation_id, traceparent, is_terminal, data, time)
    select fact.*, clock.time
      from unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                  $10::boolean[], $11::json[]) as fact, clock
  ), listed as (
    insert into outbox (aggregate_ids, sequences) values ($1::uuid[], $2::int[])
    returning position
  )
  select time, current_schema() as context, position from clock, listed`;

/**
 * Writes the facts to the log and to the list of those to publish, in one statement; call it in the transaction of the change they
 * tell of. Their time is the database's. Fails on a sequence that is taken, on a second terminal fact, and on data that is too
 * large to be published.
 */
export async function appendFacts(db: Db, facts: readonly Fact[]): Promise<void> {
  if (facts.length === 0) return;
  const texts = facts.map(toJson);
  const append = db.query<{ time: Date; context: string; position: number }>({
    name: "append_facts",
    text: appendText,
    values: [
      facts.map((fact) => fact.aggregateId),
      facts.map((fact) => fact.sequence),
      facts.map((fact) => fact.id),
      facts.map((fact) => fact.tenant),
      facts.map((fact) => fact.noun),
      facts.map((fact) => fact.event),
      facts.map((fact) => fact.correlationId),
      facts.map((fact) => fact.causationId),
      facts.map((fact) => fact.traceparent),
      facts.map((fact) => fact.isTerminal ?? false),
      texts,
    ],
  });
  await awaitWithCommit(
    db,
    append.then(({ rows: [written] }) => {
      if (written === undefined) return;
      const { position, time, context } = written;
      noteFacts(db, () => ({
        position,
        facts: facts.map((fact, at) => withoutData(fact, { time, context, json: texts[at] ?? "" })),
      }));
    }),
  );
}

function toJson(fact: Fact): string {
  const json = JSON.stringify(fact.data);
  if (Buffer.byteLength(json) <= maxFactBytes) return json;
  throw new Error(`fact ${fact.noun}.${fact.event} of ${fact.aggregateId} is larger than ${maxFactBytes} bytes`);
}

/** The facts of one aggregate in order, beginning after the given sequence; 0 for all. */
export async function listFacts(
  db: Db,
  aggregateId: string,
  afterSequence: number,
  limit: number,
): Promise<readonly StoredFact[]> {
  const { rows } = await db.query<FactRow>({
    name: "list_facts",
    text: `select ${factColumns("event")} from event where aggregate_id = $1 and sequence > $2 order by sequence limit $3`,
    values: [aggregateId, afterSequence, limit],
  });
  return rows.map(toStoredFact);
}

/**
 * Lists facts of the log for publishing again, all of them or those since a time; gives back how many were not listed already. For a
 * stream that was lost: whoever got them before gets them again. The list is made anew, so that no fact overtakes an older one of its
 * aggregate; meanwhile the relay stands still, and whoever appends waits.
 */
export async function requeueFacts(pool: Pool, since: Date | null): Promise<number> {
  const added = await inTransaction(pool, async (db) => {
    await db.query("set local statement_timeout = 0; set local lock_timeout = 0");
    await db.query(`select pg_advisory_xact_lock(${relayLock})`);
    await db.query("lock table outbox in share row exclusive mode");
    const { rows } = await db.query<{ added: number }>(
      `with unlisted as (
         delete from outbox returning aggregate_ids, sequences
       ), fact as (
         select fact.aggregate_id, fact.sequence
           from unlisted cross join lateral unnest(aggregate_ids, sequences) as fact (aggregate_id, sequence)
         union
         select aggregate_id, sequence from event where time >= coalesce($1, '-infinity'::timestamptz)
       ), timed as (
         select aggregate_id, sequence, max(event.time) over (partition by aggregate_id order by sequence) as turn
           from fact join event using (aggregate_id, sequence)
       ), placed as (
         select aggregate_id, sequence, row_number() over (order by turn, sequence) as place from timed
       ), listed as (
         insert into outbox (aggregate_ids, sequences)
         select array_agg(aggregate_id order by place), array_agg(sequence order by place)
           from placed
          group by (place - 1) / ${factsARow}
          order by (place - 1) / ${factsARow}
       )
       select (select count(*) from placed)::int - (select coalesce(sum(cardinality(sequences)), 0) from unlisted)::int as added`,
      [since],
    );
    return rows[0]?.added ?? 0;
  });
  noteListedAgain(pool);
  return added;
}

/** Of those that are listed again; of others a row lists those that were appended together. */
const factsARow = 500;

/**
 * Lists the terminal facts of aggregates for publishing again, for somebody who may have missed them; gives back how many. Whatever
 * has not ended is passed by. Nothing of an aggregate comes after its end, so that no order can break.
 */
export async function requeueTerminalFacts(pool: Pool, aggregateIds: readonly string[]): Promise<number> {
  const { rows } = await pool.query<{ count: number }>({
    name: "requeue_terminal_facts",
    text: `insert into outbox (aggregate_ids, sequences)
           select array_agg(aggregate_id), array_agg(sequence)
             from event where aggregate_id = any($1::uuid[]) and is_terminal
           having count(*) > 0
           returning cardinality(sequences) as count`,
    values: [aggregateIds],
  });
  const count = rows[0]?.count ?? 0;
  if (count > 0) noteListedAgain(pool);
  return count;
}

/** The key of the lock that a pass of the relay holds; one for each schema. */
export const relayLock = "hashtextextended('capstan.relay.' || current_schema(), 0)";

/** A row of `event` as `factColumns` selects it. */
export interface FactRow {
  readonly aggregate_id: string;
  readonly sequence: number;
  readonly id: string;
  readonly tenant: string;
  readonly noun: string;
  readonly event: string;
  readonly correlation_id: string;
  readonly causation_id: string;
  readonly traceparent: string | null;
  readonly is_terminal: boolean;
  readonly data: string;
  readonly time: Date;
  readonly context: string;
}

/** The columns of a `FactRow`, of the table of that name in a statement. */
export function factColumns(table: string): string {
  const names = "aggregate_id sequence id tenant noun event correlation_id causation_id traceparent is_terminal time";
  // The data as text: parsing it only to print it again would cost more than all the rest of a fact.
  const columns = [...names.split(" ").map((name) => `${table}.${name}`), `${table}.data::text as data`];
  return [...columns, "current_schema() as context"].join(", ");
}

/** Field by field: taking all but one is several times as slow. */
function withoutData(fact: Fact, stored: Pick<StoredFact, "time" | "context" | "json">): StoredFact {
  return {
    id: fact.id,
    tenant: fact.tenant,
    noun: fact.noun,
    event: fact.event,
    aggregateId: fact.aggregateId,
    sequence: fact.sequence,
    correlationId: fact.correlationId,
    causationId: fact.causationId,
    traceparent: fact.traceparent,
    isTerminal: fact.isTerminal ?? false,
    context: stored.context,
    time: stored.time,
    json: stored.json,
  };
}

export function toStoredFact(row: FactRow): StoredFact {
  return {
    id: row.id,
    tenant: row.tenant,
    noun: row.noun,
    event: row.event,
    aggregateId: row.aggregate_id,
    sequence: row.sequence,
    correlationId: row.correlation_id,
    causationId: row.causation_id,
    traceparent: row.traceparent,
    isTerminal: row.is_terminal,
    context: row.context,
    time: row.time,
    json: row.data,
  };
}
