/** Capacity: what is held is held for something that lives, within what there is, and comes back. */
import type { Invariants } from "./invariant.ts";

const keepForUs = "this is a defect: keep the rows and report it";

export const capacityInvariants = {
  "reservations-end": {
    finding: "a reservation has not ended",
    meaning: "When nothing is under way any more, no capacity is held.",
    severity: "error",
    reads: ["provider"],
    holds: "at rest",
    sql: `select id || ' is ' || state as ref from provider.reservation where end_time is null`,
    advice: "capstan saga list",
  },
  "reservations-end-with-their-saga": {
    finding: "capacity is held for an execution that is over",
    meaning: "Jobs wait although there is room.",
    severity: "error",
    reads: ["provider", "execution", "orchestrator"],
    holds: "always",
    sql: `
      select r.id || ' is ' || r.state || ' of job ' || r.job_id as ref, r.id::text as key
        from provider.reservation r
        left join orchestrator.saga g on g.id = r.id
        left join execution.execution e on e.id = r.id
       where r.end_time is null and r.create_time < (select time from settled) - interval '2 minutes'
         and (e.id is null or e.end_time < (select time from settled) - interval '2 minutes')
         and (g.id is null or g.stage in ('DONE', 'COMPENSATED') and g.stage_time < (select time from settled) - interval '2 minutes')`,
    advice: "give it back with --fix",
    repair: {
      does: "lets the reservation expire: the provider service gives it back within 10 s, or at its start, and tells so",
      statements: [
        `update provider.reservation set state = 'HELD', expire_time = clock_timestamp()
          where id::text = any($1::text[]) and end_time is null`,
      ],
    },
  },
  "holds-expire": {
    finding: "a reservation was not confirmed in time and is still held",
    meaning: "Jobs wait although there is room.",
    severity: "warning",
    reads: ["provider"],
    holds: "always",
    sql: `
      select id || ' was to expire at ' || expire_time as ref
        from provider.reservation where expire_time < (select time from settled) - interval '1 minute'`,
    advice: "see whether the provider service runs: capstan system health",
  },
  "reservations-are-for-jobs": {
    finding: "a reservation is for a job that is not there",
    meaning: "Capacity is held for nobody, or a job is lost.",
    severity: "error",
    reads: ["provider", "job"],
    holds: "history",
    sql: `
      select r.id::text as ref
        from provider.reservation r left join job.job j on j.id = r.job_id where r.provider_id is not null and j.id is null`,
    advice: "harmless if the job was deleted by hand; otherwise report it",
  },
  "providers-count-what-lives": {
    finding: "a provider counts other reservations than live on it",
    meaning: "Jobs wait although there is room, or more is placed than there is room for.",
    severity: "error",
    reads: ["provider"],
    holds: "always",
    sql: `
      select p.name || ' (' || p.tenant || ') counts ' || p.live_reservations || ' with ' || p.used_slots || ' slots of '
             || count(r.id) || ' with ' || coalesce(sum(r.slots), 0) as ref, p.id::text as key
        from provider.provider p left join provider.reservation r on r.provider_id = p.id and r.end_time is null
       group by p.id
      having p.used_slots <> coalesce(sum(r.slots), 0) or p.used_cpu_millis <> coalesce(sum(r.cpu_millis), 0)
          or p.used_memory_mib <> coalesce(sum(r.memory_mib), 0) or p.live_reservations <> count(r.id)`,
    advice: "count again with --fix, and report it",
    repair: {
      does: "counts again what lives on the provider, under its lock",
      statements: [
        "select id from provider.provider where id::text = any($1::text[]) order by id for update",
        `update provider.provider p
            set used_slots = live.slots, used_cpu_millis = live.cpu_millis, used_memory_mib = live.memory_mib,
                live_reservations = live.count, version = p.version + 1
           from provider.provider q
          cross join lateral (
            select coalesce(sum(r.slots), 0) as slots, coalesce(sum(r.cpu_millis), 0) as cpu_millis,
                   coalesce(sum(r.memory_mib), 0) as memory_mib, count(*) as count
              from provider.reservation r where r.provider_id = q.id and r.end_time is null) live
          where p.id = q.id and p.id::text = any($1::text[])`,
      ],
    },
  },
  "providers-hold-what-they-have": {
    finding: "a provider held more than it ever had",
    meaning: "More was placed on it than there is room for.",
    severity: "error",
    reads: ["provider"],
    holds: "history",
    sql: `
      select provider_id || ' held ' || max(held) || ' slots' as ref
        from (select provider_id, sum(change) over (partition by provider_id order by time, change) as held
                from (select provider_id, create_time as time, slots as change from provider.reservation
                      union all select provider_id, end_time, -slots from provider.reservation) as changes
               where time is not null and provider_id is not null) as history
       group by provider_id
      having max(held) > (select max((data->'provider'->'capacity'->>'slots')::int) from fact
                           where context = 'provider' and noun = 'provider' and aggregate_id = history.provider_id)`,
    advice: keepForUs,
  },
  "executions-have-a-reservation": {
    finding: "an execution ran without its reservation",
    meaning: "Its place was given to somebody else while it ran: the provider was overloaded.",
    severity: "error",
    reads: ["provider", "execution"],
    holds: "history",
    // Those that ended long ago are forgotten.
    sql: `
      select e.id::text as ref
        from execution.execution e left join provider.reservation r on r.id = e.id and r.provider_id = e.provider_id
       where e.start_time is not null
         and ((r.id is null and coalesce(e.end_time, 'infinity') > clock_timestamp() - interval '1 hour')
              or r.create_time > e.create_time or r.end_time < coalesce(e.end_time, (select time from settled)))`,
    advice: keepForUs,
  },
  "reservations-are-told": {
    finding: "a reservation was not told once when it was made and once when it ended",
    meaning: "Whoever counts capacity by the facts counts wrong.",
    severity: "error",
    reads: ["provider"],
    holds: "history",
    // One that has expired may be made anew. Without a join: what is in a fact has no statistics, and a bad plan reads it again and again.
    sql: `
      select id as ref
        from (select id::text as id, state, '' as told from provider.reservation where provider_id is not null
               union all
              select c->>'id', null, substr(c->>'state', 19)
                from fact f, json_array_elements(f.data->'reservations') c
               where f.context = 'provider' and f.noun = 'reservation') as said
       group by id
      having max(state) is not null
         and (count(*) filter (where told = 'HELD') <> count(*) filter (where told = 'EXPIRED') + (max(state) <> 'EXPIRED')::int
              or (max(state) = 'EXPIRED' and count(*) filter (where told = 'EXPIRED') = 0)
              or (max(state) = 'RELEASED' and count(*) filter (where told = 'RELEASED') <> 1))`,
    advice: keepForUs,
  },
} as const satisfies Invariants;
