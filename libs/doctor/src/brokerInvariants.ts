/** The way of facts over the broker: all of the log is on the streams, in order, and is handled. */
import type { Invariants } from "./invariant.ts";

const all = ["job", "provider", "execution", "orchestrator"] as const;

export const brokerInvariants = {
  "facts-are-published": {
    finding: "a fact is not published",
    meaning: "Nobody who listens to NATS has heard of it, and the job it is about may stand still.",
    severity: "warning",
    reads: "each",
    holds: "always",
    sql: `
      select u.context || ' ' || u.aggregate_id || '#' || u.sequence as ref
        from unpublished u join fact f on f.context = u.context and f.aggregate_id = u.aggregate_id and f.sequence = u.sequence
       where f.time < (select time from settled)`,
    advice: "see whether NATS and the services run, and whether a stream is full: capstan system health",
  },
  "streams-are-there": {
    finding: "a stream is missing",
    meaning: "The facts of a service cannot be published, and those that were are gone.",
    severity: "error",
    reads: all,
    sees: "streams",
    holds: "always",
    sql: `
      select 'CAPSTAN_' || upper(f.context) as ref
        from fact f
       where f.time > clock_timestamp() - interval '7 days' and f.context not in (select context from stream)
       group by f.context`,
    advice: "start the service: it makes its stream and publishes again what the log has of the last 7 days",
  },
  "streams-hold-the-log": {
    finding: "a fact is not in its stream",
    meaning: "Whoever listens has missed it, and the job it is about may stand still.",
    severity: "error",
    reads: all,
    sees: "streams",
    holds: "always",
    sql: `
      select f.context || ' ' || f.aggregate_id || '#' || f.sequence || ' ' || f.noun || '.' || f.event as ref,
             f.context || '/' || f.aggregate_id || '/' || f.sequence as key
        from fact f
        join stream on stream.context = f.context and stream.known_since <= f.time
        left join streamed s on s.context = f.context and s.id = f.id::text
       where s.id is null and f.time < (select time from settled)
         and not exists (select from unpublished u
                          where u.context = f.context and u.aggregate_id = f.aggregate_id and u.sequence = f.sequence)
       order by f.time`,
    advice: "list it again with --fix",
    repair: {
      does: "lists the facts in the outbox again; they are published within 11 s by the service, or at its start",
      statements: all.map(
        (schema) => `
          insert into ${schema}.outbox (aggregate_ids, sequences)
          select array_agg(e.aggregate_id order by e.time, e.sequence), array_agg(e.sequence order by e.time, e.sequence)
            from ${schema}.event e
           where '${schema}/' || e.aggregate_id || '/' || e.sequence = any($1::text[])
          having count(*) > 0`,
      ),
    },
  },
  "streams-tell-the-log": {
    finding: "a stream tells something that the log does not",
    meaning:
      "Listeners were told what did not happen: the database is older than the stream, as after going back to a backup.",
    severity: "error",
    reads: all,
    sees: "streams",
    holds: "always",
    sql: `
      select s.context || ' ' || s.id as ref
        from streamed s left join fact f
          on f.id::text = s.id and f.context = s.context and f.aggregate_id::text = s.aggregate_id and f.sequence = s.sequence
         and s.type = 'capstan.' || f.context || '.v1.' || f.noun || '.' || f.event
       where f.id is null`,
    advice: "stop the services and delete the four CAPSTAN_ streams, as docs/operating.md says of backups",
  },
  "streams-keep-the-order": {
    finding: "a stream tells an aggregate's facts out of order",
    meaning: "Listeners that do not mind the sequence of a fact took an older one for the newest.",
    severity: "error",
    reads: [],
    sees: "streams",
    holds: "always",
    sql: `
      select told.context || ' ' || aggregate_id || '#' || sequence as ref
        from (select context, aggregate_id, sequence,
                     lag(sequence) over (partition by context, aggregate_id order by first_position) as before
                from (select context, aggregate_id, sequence, min(position) as first_position
                        from streamed group by context, aggregate_id, sequence) as firsts) as told
        join stream on stream.context = told.context and stream.is_whole
       where sequence < before`,
    advice: "consumers of your own should pass over a fact whose sequence is not greater than the last one's",
  },
  "consumers-know-their-stream": {
    finding: "a consumer is ahead of its stream",
    meaning: "It passes over everything until the stream has come as far again.",
    severity: "error",
    reads: [],
    sees: "consumers",
    holds: "always",
    sql: `select name as ref from consumer where delivered > last_position`,
    advice: "start the orchestrator again: it makes its consumers anew; delete those of your own",
  },
  "consumers-move": {
    finding: "a consumer has not handled everything",
    meaning: "It stands still with facts to come: jobs do not go on.",
    severity: "error",
    reads: [],
    sees: "consumers",
    holds: "always",
    // With the position that it stands at: one that moves is another finding each time one looks.
    sql: `
      select name || ': ' || pending || ' to come, ' || in_hand || ' in hand, at ' || delivered || '/' || acknowledged as ref
        from consumer where pending > 0 or in_hand > 0`,
    advice: "see whether the orchestrator runs: capstan system health",
  },
  "no-dead-letters": {
    finding: "a dead letter is left",
    meaning: "A fact could not be handled and was passed over; the job it is about may stand still.",
    severity: "error",
    reads: "each",
    holds: "always",
    sql: `select context || ' ' || subject || ': ' || error as ref from letter`,
    advice: "capstan events dead-letters list; mend the cause; capstan events dead-letters replay <id>",
  },
} as const satisfies Invariants;
