/** How many jobs stand where, counted among the newest: a picture is worth one read of so many index entries, not more. */
import type { Db } from "@capstan/postgres";
import type { JobState } from "./job.ts";

/** How many jobs are looked at for what happened within a span. */
export const maxCounted = 100_000;

interface BucketCount {
  readonly bucket: number;
  readonly state: JobState;
  readonly count: number;
}

interface FailureGroup {
  readonly state: JobState;
  readonly reason: string;
  readonly count: number;
  readonly lastJobId: string;
  readonly lastJobName: string;
  readonly lastMessage: string;
  /** ISO text, because it is aggregated as JSON. */
  readonly lastTime: string;
}

export interface JobStats {
  readonly live: readonly { readonly state: JobState; readonly count: number }[];
  /** By the part of the span in which they were accepted. Parts without jobs are left out. */
  readonly accepted: readonly BucketCount[];
  /** How many ended in each part; parts without are left out. */
  readonly ended: readonly { readonly bucket: number; readonly count: number }[];
  readonly failures: readonly FailureGroup[];
  readonly beginTime: Date;
  readonly endTime: Date;
}

export async function countJobs(
  db: Db,
  { tenant, spanMs, buckets, limit = maxCounted }: { tenant: string; spanMs: number; buckets: number; limit?: number },
): Promise<JobStats> {
  const { rows } = await db.query<JobStats & { readonly isFull: boolean; readonly oldest: Date | null }>({
    name: "count_jobs",
    // One pass makes few groups of many rows; all else is made of the groups.
    text: `with span as materialized (
             select clock_timestamp() as "end", clock_timestamp() - $2::float8 * interval '1 ms' as begin,
                    extract(epoch from clock_timestamp())::float8 - $2::float8 / 1000 as first,
                    $2::float8 / $3::int / 1000 as step
           ), recent as (
             select j.id, j.state, j.reason, j.create_time, j.end_time
               from job.job j
              where j.tenant = $1 and j.create_time > clock_timestamp() - $2::float8 * interval '1 ms'
              order by j.create_time desc
              limit $4
           ), counted as materialized (
             select least($3 - 1, floor((extract(epoch from create_time)::float8 - span.first) / span.step)::int) as bucket,
                    case when end_time is not null then
                      least($3 - 1, floor((extract(epoch from end_time)::float8 - span.first) / span.step)::int)
                    end as end_bucket,
                    state, reason, count(*) as count, min(create_time) as oldest,
                    max(id::text) filter (where state in ('FAILED', 'TIMED_OUT')) as newest
               from recent, span
              group by 1, 2, 3, 4
           )
           select coalesce((select json_agg(l) from (select state, count(*) as count from job.job
                             where end_time is null and tenant = $1 group by state) l), '[]') as live,
                  coalesce((select json_agg(a) from (select bucket, state, sum(count) as count from counted
                             group by bucket, state) a), '[]') as accepted,
                  coalesce((select json_agg(e) from (select end_bucket as bucket, sum(count) as count from counted
                             where end_bucket is not null group by end_bucket) e), '[]') as ended,
                  coalesce((select json_agg(f) from (
                             select g.state, g.reason, g.count, j.id as "lastJobId", j.name as "lastJobName",
                                    j.message as "lastMessage", j.end_time as "lastTime"
                               from (select state, reason, sum(count) as count, max(newest)::uuid as newest from counted
                                      where newest is not null group by state, reason
                                      order by sum(count) desc, state, reason limit 50) g
                               join job.job j on j.id = g.newest
                              order by g.count desc, g.state, g.reason) f), '[]') as failures,
                  (select sum(count) from counted) >= $4 as "isFull", (select min(oldest) from counted) as oldest,
                  span.begin as "beginTime", span."end" as "endTime"
             from span`,
    values: [tenant, spanMs, buckets, limit],
  });
  const [stats] = rows;
  if (stats === undefined) throw new Error("counting jobs gave no row");
  return { ...stats, beginTime: stats.isFull && stats.oldest !== null ? stats.oldest : stats.beginTime };
}
