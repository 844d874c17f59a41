/** The logs of facts: of each aggregate without a gap, in order, and ended once. They hold in each schema by itself. */
import type { Invariants } from "./invariant.ts";

const keepForUs = "this is a defect, or the log was changed by hand: keep the rows and report it";

export const factInvariants = {
  "logs-have-no-gap": {
    finding: "a log of facts has a gap",
    meaning: "Whoever follows the aggregate waits for a fact that never comes.",
    severity: "error",
    reads: "each",
    holds: "history",
    sql: `
      select context || ' ' || aggregate_id as ref from fact
       group by context, aggregate_id having min(sequence) <> 1 or max(sequence) <> count(*)`,
    advice: keepForUs,
  },
  "aggregates-count-their-facts": {
    finding: "an aggregate has not as many facts as it counts",
    meaning: "Something changed and was not told, or was told and did not happen.",
    severity: "error",
    reads: "each",
    holds: "history",
    sql: `
      select a.context || ' ' || a.id || ' counts ' || a.sequence || ' and has ' || coalesce(max(f.sequence), 0) as ref
        from aggregate a left join fact f on f.context = a.context and f.aggregate_id = a.id
       group by a.context, a.id, a.sequence having coalesce(max(f.sequence), 0) <> a.sequence`,
    advice: keepForUs,
  },
  "aggregates-end-once": {
    finding: "an aggregate ended twice",
    meaning: "Whoever does something at the end did it twice.",
    severity: "error",
    reads: "each",
    holds: "history",
    sql: `
      select context || ' ' || aggregate_id as ref from fact
       where is_terminal group by context, aggregate_id having count(*) > 1`,
    advice: keepForUs,
  },
  "nothing-after-the-end": {
    finding: "something happened after the end",
    meaning: "Whoever stopped listening at the end has missed it.",
    severity: "error",
    reads: "each",
    holds: "history",
    sql: `
      select later.context || ' ' || later.aggregate_id || '#' || later.sequence as ref
        from fact later join fact ended using (context, aggregate_id)
       where ended.is_terminal and later.sequence > ended.sequence`,
    advice: keepForUs,
  },
  "time-goes-forward": {
    finding: "time went backwards",
    meaning: "The times of an aggregate's facts contradict their order: durations are wrong.",
    severity: "warning",
    reads: "each",
    holds: "history",
    sql: `
      select a.context || ' ' || a.aggregate_id || '#' || b.sequence as ref
        from fact a join fact b on b.context = a.context and b.aggregate_id = a.aggregate_id and b.sequence = a.sequence + 1
       where b.time < a.time`,
    advice: "the clock of the Postgres server was set back; nothing depends on it",
  },
  "facts-are-of-known-jobs": {
    finding: "a fact tells of a job that is not there",
    meaning: "Work is done for a job that nobody can look up: lost, or deleted by hand.",
    severity: "error",
    reads: ["job", "provider", "execution", "orchestrator"],
    holds: "history",
    sql: `
      select f.context || ' ' || f.id as ref
        from fact f left join job.job j on j.id::text = f.correlation_id where f.correlation_id <> '' and j.id is null`,
    advice:
      "harmless if the job was deleted by hand: delete its facts too; after going back to a backup see docs/operating.md",
  },
  "outbox-lists-facts": {
    finding: "a fact is to be published that is not in the log",
    meaning: "The row stays in the outbox for ever.",
    severity: "error",
    reads: "each",
    holds: "always",
    sql: `
      select u.context || ' row ' || u.position || ' lists ' || u.aggregate_id || '#' || u.sequence as ref,
             u.context || '/' || u.position as key
        from unpublished u left join fact f
          on f.context = u.context and f.aggregate_id = u.aggregate_id and f.sequence = u.sequence
       where f.id is null`,
    advice: "look at the row first: facts are deleted by hand only",
    repair: {
      does: "takes rows that list no fact at all off the outbox",
      statements: ["job", "provider", "execution", "orchestrator"].map(
        (schema) => `
          delete from ${schema}.outbox o
           where o.position::text in (select split_part(key, '/', 2) from unnest($1::text[]) key where key like '${schema}/%')
             and not exists (select from unnest(o.aggregate_ids, o.sequences) as l (aggregate_id, sequence)
                               join ${schema}.event e on e.aggregate_id = l.aggregate_id and e.sequence = l.sequence)`,
      ),
    },
  },
} as const satisfies Invariants;
