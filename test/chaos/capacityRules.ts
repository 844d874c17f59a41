/** What is held, and what is still there. R, C and T rules, and H8. */
import { maxGrowthMib } from "./memory.ts";
import type { Rules } from "./rule.ts";

export const capacityRules = {
  R1: {
    says: "a reservation was not given back",
    sql: "select id || ' is ' || state as ref from provider.reservation where end_time is null",
  },
  R2: {
    says: "a provider counts another use than its reservations have",
    sql: `select p.name || ' counts ' || p.used_slots as ref
            from provider.provider p left join provider.reservation r on r.provider_id = p.id and r.end_time is null
           group by p.id, p.name, p.used_slots, p.live_reservations
          having p.used_slots <> coalesce(sum(r.slots), 0) or p.live_reservations <> count(r.id)`,
  },
  R3: {
    says: "a reservation was made for a job that is not there",
    sql: "select r.id::text as ref from provider.reservation r left join job.job j on j.id = r.job_id where r.job_id is not null and j.id is null",
  },
  R4: {
    says: "an attempt ran without a reservation",
    sql: `select e.id::text as ref from execution.execution e left join provider.reservation r on r.id = e.id
           where e.provider_id is not null and r.provider_id is distinct from e.provider_id`,
  },
  C1: {
    says: "a process is left behind",
    sql: `select p.pid || ' of ' || p.execution_id as ref from chk_process p join execution.execution e on e.id = p.execution_id`,
  },
  C2: {
    says: "a container is left behind",
    sql: `select execution_id::text as ref from chk_container where installation = (select id::text from execution.installation)`,
  },
  C3: {
    says: "a container was started for an attempt that is not known",
    sql: `select distinct s.execution_id::text as ref from chk_start s
            join chk_container c on c.execution_id = s.execution_id and c.installation = (select id::text from execution.installation)
           where not exists (select from execution.execution e where e.id = s.execution_id)`,
  },
  H8: {
    says: `a service holds more than ${maxGrowthMib} MiB of memory beyond what it held when it was warm`,
    sql: `select label || ' had ' || round(warm_mib) || ' MiB and has ' || round(quiet_mib) as ref
            from chk_memory where quiet_mib > warm_mib + ${maxGrowthMib}`,
  },
  T1: {
    says: "a step is due and has not moved",
    sql: "select job_id || '/' || name as ref from job.step where due_time is not null and end_time is null and due_time < clock_timestamp() - interval '1 minute'",
  },
  T2: {
    says: "something is still to be done between jobs",
    sql: "select child_job_id || ' ' || kind as ref from job.errand",
  },
  T3: {
    says: "a timer of a wait is left",
    sql: "select saga_id::text as ref from orchestrator.wait_timer",
  },
} as const satisfies Rules;
