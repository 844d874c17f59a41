/** The logs of facts, the outboxes, the streams and their consumers. O, N and I rules. */
import type { Rules } from "./rule.ts";

const schemas = ["job", "provider", "execution", "orchestrator"];
const everyOutbox = schemas
  .map((schema) => `select '${schema}#' || position as ref from ${schema}.outbox`)
  .join(" union all ");
const everyLetter = schemas
  .map(
    (schema) =>
      `select '${schema} ' || id || ': ' || error as ref from ${schema}.dead_letter where resolve_time is null`,
  )
  .join(" union all ");

export const factRules = {
  J7: {
    says: "the facts of an aggregate have a gap",
    sql: `select context || ' ' || aggregate_id as ref from chk_fact
           group by context, aggregate_id having min(sequence) <> 1 or max(sequence) <> count(*)`,
  },
  J7b: {
    says: "an aggregate counts other facts than its log has",
    sql: `select a.context || ' ' || a.id || ' counts ' || a.sequence as ref
            from chk_aggregate a
            left join (select context, aggregate_id, max(sequence) as last from chk_fact group by 1, 2) f
              on f.context = a.context and f.aggregate_id = a.id
           where a.sequence <> coalesce(f.last, 0)`,
  },
  J8: {
    says: "something was told of an aggregate after its end",
    sql: `select e.context || ' ' || e.aggregate_id || '#' || e.sequence as ref
            from chk_fact e join chk_fact t on t.context = e.context and t.aggregate_id = e.aggregate_id and t.is_terminal
           where e.sequence > t.sequence`,
  },
  O1: {
    says: "two facts have one id",
    sql: "select id::text as ref from chk_fact group by id having count(*) > 1",
  },
  O2: {
    says: "a fact is not published",
    sql: everyOutbox,
  },
  O3: {
    says: "a fact is absent from its stream",
    sql: `select f.context || ' ' || f.aggregate_id || '#' || f.sequence as ref
            from chk_fact f where not exists (select from chk_message m where m.id = f.id and m.context = f.context)`,
  },
  O4: {
    says: "the facts of an aggregate are out of order in the stream",
    sql: `select context || ' ' || aggregate_id || '#' || sequence as ref
            from (select *, lag(sequence) over (partition by context, aggregate_id order by position) as before
                    from (select context, aggregate_id, sequence, min(position) as position from chk_message group by 1, 2, 3) f) o
           where before is not null and sequence < before`,
  },
  O5: {
    says: "a stream has a fact that no log has, or tells it otherwise",
    sql: `select m.context || ' at ' || m.position as ref
            from chk_message m left join chk_fact f on f.id = m.id and f.context = m.context
           where f.id is null or f.aggregate_id <> m.aggregate_id or f.sequence <> m.sequence
              or m.type <> 'capstan.' || f.context || '.v1.' || f.noun || '.' || f.event`,
  },
  N1: {
    says: "a consumer is ahead of its stream",
    sql: "select name || ' at ' || delivered || ' of ' || last as ref from chk_consumer where delivered > last",
  },
  N2: {
    says: "a consumer has not handled all",
    sql: "select name || ': ' || pending || ' pending, ' || in_hand || ' in hand' as ref from chk_consumer where pending > 0 or in_hand > 0",
  },
  N3: {
    says: "the orchestrator does not listen",
    sql: `select wanted as ref from unnest(array['CAPSTAN_JOB/orchestrator-job', 'CAPSTAN_EXECUTION/orchestrator-execution']) as wanted
           where wanted not in (select name from chk_consumer)`,
  },
  I3: {
    says: "a fact was set aside",
    sql: everyLetter,
  },
} as const satisfies Rules;
