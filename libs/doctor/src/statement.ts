/**
 * Makes an invariant a statement of its own. Beside the tables of the schemas it may read
 *
 *   settled (time)                  what has not changed since then should have come to rest
 *   fact, unpublished, letter       the log, the outbox (one row for each fact) and the unresolved dead letters, with their context
 *   aggregate                       whatever has a log of its own: context, id, sequence
 *   streamed, stream                what the streams hold, and how much of it was read
 *   consumer                        where the consumers of the streams stand
 *   workload, engine                processes and containers that were found; providers whose engine was asked
 *   acknowledged                    jobs whose submit was answered
 *
 * They are part of the statement and no tables, so that it needs no right to make any, and holds nothing after it.
 */
import type { Invariant, Schema, Sight } from "./invariant.ts";
import type { Observed } from "./observed.ts";

const aggregates: Readonly<Record<Schema, readonly string[]>> = {
  job: ["job", "schedule", "template"],
  provider: ["provider"],
  execution: ["execution"],
  orchestrator: ["saga", "queue"],
};

/** The statement, and what it is given as `$1`; null if something it needs was not looked at. */
export function statementOf(
  { sql, sees }: Pick<Invariant, "sql" | "sees">,
  from: readonly Schema[],
  { observed, settleMs, limit }: { readonly observed: Observed; readonly settleMs: number; readonly limit: number },
): { readonly text: string; readonly values: string[] } | null {
  const sight = sees === undefined ? null : sights[sees](observed);
  if (sight === undefined) return null;
  const each = (select: (schema: Schema) => string) => from.map(select).join(" union all ");
  const relations = [
    `settled as (select clock_timestamp() - interval '${Math.round(settleMs)} milliseconds' as time)`,
    `fact as not materialized (${each((schema) => `select '${schema}' as context, e.* from ${schema}.event e`)})`,
    `unpublished as materialized (${each(
      (schema) => `select '${schema}' as context, o.position, l.aggregate_id, l.sequence
                     from ${schema}.outbox o cross join lateral unnest(o.aggregate_ids, o.sequences) as l (aggregate_id, sequence)`,
    )})`,
    `letter as not materialized (${each(
      (schema) =>
        `select '${schema}' as context, d.subject, d.error from ${schema}.dead_letter d where d.resolve_time is null`,
    )})`,
    `aggregate as not materialized (${each((schema) =>
      aggregates[schema]
        .map((table) => `select '${schema}' as context, id, sequence from ${schema}.${table}`)
        .join(" union all "),
    )})`,
    ...(sees === undefined ? [] : columns[sees].map(asRelation)),
  ];
  return {
    text: `with ${relations.join(",\n")}\nselect * from (${sql}) as found limit ${limit}`,
    values: sight === null ? [] : [JSON.stringify(sight)],
  };
}

const columns: Readonly<Record<Sight, readonly (readonly [name: string, columns: string])[]>> = {
  streams: [
    ["streamed", "context text, position bigint, id text, aggregate_id text, sequence int, type text"],
    ["stream", "context text, known_since timestamptz, is_whole boolean"],
  ],
  consumers: [
    [
      "consumer",
      "name text, delivered bigint, acknowledged bigint, last_position bigint, pending bigint, in_hand bigint",
    ],
  ],
  workloads: [
    ["workload", "execution_id text, ref text"],
    ["engine", "provider_id uuid"],
  ],
  acknowledged: [["acknowledged", "job_id uuid"]],
};

function asRelation([name, list]: readonly [name: string, columns: string]): string {
  return `${name} as materialized (select * from json_to_recordset($1::json->'${name}') as ${name} (${list}))`;
}

/** What was seen, in the shape of its relations; undefined if it was not looked at. */
const sights: Readonly<Record<Sight, (observed: Observed) => object | undefined>> = {
  streams: ({ broker }) =>
    broker && {
      streamed: broker.facts.map(({ aggregateId, ...fact }) => ({ ...fact, aggregate_id: aggregateId })),
      stream: broker.streams.map(({ context, knownSince, isWhole }) => ({
        context,
        known_since: knownSince,
        is_whole: isWhole,
      })),
    },
  consumers: ({ broker }) =>
    broker && {
      consumer: broker.consumers.map(({ lastPosition, inHand, ...consumer }) => ({
        ...consumer,
        last_position: lastPosition,
        in_hand: inHand,
      })),
    },
  workloads: ({ workloads, engines = [] }) =>
    workloads && {
      workload: workloads.map(({ executionId, ref }) => ({ execution_id: executionId, ref })),
      engine: engines.map((id) => ({ provider_id: id })),
    },
  acknowledged: ({ acknowledged }) => acknowledged && { acknowledged: acknowledged.map((id) => ({ job_id: id })) },
};
