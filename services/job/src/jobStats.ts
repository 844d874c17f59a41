/** How jobs do, for those who look at all of them. Those who ask the same within a second get the same answer. */
import { invalid } from "@capstan/errors";
import { unary } from "@capstan/grpc";
import type { Pool } from "@capstan/postgres";
import type { JobState } from "@capstan/proto/capstan/job/v1/job.ts";
import type {
  GetJobStatsRequest,
  GetJobStatsResponse,
  JobCounts,
  JobServiceServer,
} from "@capstan/proto/capstan/job/v1/job_service.ts";
import { checkDuration, durationMs } from "./fieldChecks.ts";
import { reasonMessage } from "./jobProto.ts";
import { countJobs, type JobStats } from "./jobStatsQueries.ts";

/** For so long the same question has the same answer, however many ask it. */
const sharedMs = 1_000;
const minSpanMs = 60_000;
const maxSpanMs = 7 * 86_400_000;
const defaultSpanMs = 3_600_000;
const maxBuckets = 500;
const defaultBuckets = 60;

export function createJobStats({ pool }: { readonly pool: Pool }): Pick<JobServiceServer, "getJobStats"> {
  const recent = new Map<string, { readonly stats: Promise<JobStats>; readonly time: number }>();

  function count(tenant: string, spanMs: number, buckets: number): Promise<JobStats> {
    const key = `${spanMs} ${buckets} ${tenant}`;
    const now = performance.now();
    const known = recent.get(key);
    if (known !== undefined && now - known.time < sharedMs) return known.stats;
    for (const [old, { time }] of recent) if (now - time >= sharedMs) recent.delete(old);
    const stats = countJobs(pool, { tenant, spanMs, buckets });
    recent.set(key, { stats, time: now });
    stats.catch(() => recent.delete(key));
    return stats;
  }

  return {
    getJobStats: unary(async (request, { tenant }) => {
      const { spanMs, buckets } = checkStats(request);
      return toStats(await count(tenant, spanMs, buckets), spanMs, buckets);
    }),
  };
}

function checkStats({ span, buckets }: GetJobStatsRequest): { readonly spanMs: number; readonly buckets: number } {
  const violations: { field: string; description: string }[] = [];
  const refuse = (field: string, description: string) => violations.push({ field, description });
  checkDuration(span, "span", { minMs: minSpanMs, maxMs: maxSpanMs }, refuse);
  if (buckets < 0 || buckets > maxBuckets) refuse("buckets", `is ${buckets}; it must be from 1 to ${maxBuckets}`);
  if (violations.length > 0) throw invalid(violations);
  return { spanMs: durationMs(span) || defaultSpanMs, buckets: buckets || defaultBuckets };
}

function toStats(stats: JobStats, spanMs: number, buckets: number): GetJobStatsResponse {
  const begin = stats.endTime.getTime() - spanMs;
  const accepted = Map.groupBy(stats.accepted, ({ bucket }) => bucket);
  const ended = new Map(stats.ended.map(({ bucket, count }) => [bucket, count]));
  return {
    live: toCounts(stats.live),
    buckets: Array.from({ length: buckets }, (_, bucket) => ({
      beginTime: new Date(begin + (bucket * spanMs) / buckets),
      accepted: toCounts(accepted.get(bucket) ?? []),
      ended: ended.get(bucket) ?? 0,
    })),
    failures: stats.failures.map(({ lastTime, reason, state, ...group }) => ({
      ...group,
      state: `JOB_STATE_${state}` as JobState,
      reason: reasonMessage(reason),
      lastTime: new Date(lastTime),
    })),
    beginTime: stats.beginTime,
    readTime: stats.endTime,
  };
}

function toCounts(counts: readonly { readonly state: string; readonly count: number }[]): JobCounts {
  const of = (state: string) => counts.find((each) => each.state === state)?.count ?? 0;
  return {
    pending: of("PENDING"),
    running: of("RUNNING"),
    cancelling: of("CANCELLING"),
    succeeded: of("SUCCEEDED"),
    failed: of("FAILED"),
    cancelled: of("CANCELLED"),
    timedOut: of("TIMED_OUT"),
  };
}
