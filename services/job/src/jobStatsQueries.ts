/** How many jobs stand where, counted among the newest: a picture is worth one read of so many index entries, not more. */
import type { Db } from "@capstan/postgres";
import type { JobState } from "./job.ts";

/** How many jobs are looked at for what happened within a span. */
export const maxCounted = 100_000;

export interface BucketCount {
  readonly bucket: number;
  readonly state: JobState;
  readonly count: number;
}

export interface FailureGroup {
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
    text: `with span as materialized (
             select clock_timestamp() as "end", clock_timestamp() - $2::float8 * interval '1 ms' as begin,
                    $2::float8 / $3::int / 1000 as step
           ), recent as materialized (
             select j.id, j.name, j.state, j.reason, j.message, j.create_time, j.end_time,
                    least($3 - 1, floor(extract(epoch from j.create_time - span.begin) / span.step)::int) as bucket,
                    least($3 - 1, floor(extract(epoch from j.end_time - span.begin) / span.step)::int) as end_bucket
               from job.job j, span
              where j.tenant = $1 and j.create_time > span.begin
              order by j.create_time desc
              limit $4
           )
           select coalesce((select json_agg(l) from (select state, count(*) as count from job.job
                             where end_time is null and tenant = $1 group by state) l), '[]') as live,
                  coalesce((select json_agg(a) from (select bucket, state, count(*) as count from recent
                             group by bucket, state) a), '[]') as accepted,
                  coalesce((select json_agg(e) from (select end_bucket as bucket, count(*) as count from recent
                             where end_time is not null group by end_bucket) e), '[]') as ended,
                  coalesce((select json_agg(f) from (
                             select state, reason, count(*) as count,
                                    (array_agg(id order by end_time desc))[1] as "lastJobId",
                                    (array_agg(name order by end_time desc))[1] as "lastJobName",
                                    (array_agg(message order by end_time desc))[1] as "lastMessage",
                                    max(end_time) as "lastTime"
                               from recent
                              where state in ('FAILED', 'TIMED_OUT')
                              group by state, reason
                              order by count(*) desc, state, reason
                              limit 50) f), '[]') as failures,
                  (select count(*) from recent) >= $4 as "isFull", (select min(create_time) from recent) as oldest,
                  span.begin as "beginTime", span."end" as "endTime"
             from span`,
    values: [tenant, spanMs, buckets, limit],
  });
  const [stats] = rows;
  if (stats === undefined) throw new Error("counting jobs gave no row");
  return { ...stats, beginTime: stats.isFull && stats.oldest !== null ? stats.oldest : stats.beginTime };
}
