/** Jobs of several steps: their items belong together, and what ends them is done. Jobs that are one execution have none of it. */
import type { Invariants } from "./invariant.ts";

const keepForUs = "this is a defect: keep the job's facts (capstan job events) and report it";

export const workflowInvariants = {
  "plain-job-is-one-step": {
    finding: "a job that is one execution has more than its one step",
    meaning: "The other steps are never reached: such a job is moved without its plan.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select j.id::text as ref
        from job.job j left join job.step s on s.job_id = j.id
       where not j.is_workflow
       group by j.id having count(s.name) <> 1 or count(s.parent) > 0 or bool_or(j.ending is not null)`,
    advice: keepForUs,
  },
  "items-have-a-step": {
    finding: "an item belongs to no step of its job",
    meaning: "Nobody waits for the item, and its result is lost.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select i.job_id || '/' || i.name as ref
        from job.step i left join job.step s on s.job_id = i.job_id and s.name = i.parent and s.parent is null
       where i.parent is not null and s.name is null`,
    advice: keepForUs,
  },
  "items-have-no-gap": {
    finding: "the items of a step are not numbered without a gap",
    meaning: "An item was left out, or is done twice.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select job_id || '/' || parent as ref
        from job.step where parent is not null
       group by job_id, parent
      having min(item_index) <> 0 or max(item_index) + 1 <> count(*) or count(distinct item_index) <> count(*)`,
    advice: keepForUs,
  },
  "items-end-with-their-step": {
    finding: "a step has ended and an item of it has not",
    meaning: "What comes after the step began too early.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select i.job_id || '/' || i.name as ref
        from job.step i join job.step s on s.job_id = i.job_id and s.name = i.parent
       where i.end_time is null and s.end_time is not null`,
    advice: keepForUs,
  },
  "job-ends-as-decided": {
    finding: "a job has ended otherwise than it was decided",
    meaning: "Its compensations and hooks ran for another outcome than the job has.",
    severity: "error",
    reads: ["job"],
    holds: "history",
    sql: `
      select id || ' is ' || state || ' and was to be ' || (ending->>'outcome') as ref
        from job.job where end_time is not null and ending is not null and ending->>'outcome' <> state`,
    advice: keepForUs,
  },
} as const satisfies Invariants;
