/** What other contexts tell the job context, most of all what became of executions, and the facts that they read of many jobs. */
import { DomainError, invalid } from "@capstan/errors";
import { decodePageToken, encodePageToken, unary } from "@capstan/grpc";
import { inTransaction, isUuid, type Pool } from "@capstan/postgres";
import type {
  ExecutionReport,
  JobInternalServiceServer,
  ReportOutcome,
} from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import { durationMs } from "./fieldChecks.ts";
import { isJobTerminal } from "./job.ts";
import { type JobCursor, type JobPage, readJobPages } from "./jobEventQueries.ts";
import { pageMessage, reportFromMessage } from "./jobProto.ts";
import { cancelOf, type MoveJobs, reportsOf } from "./moveJobs.ts";
import { findEndedJobs, listOpenAttempts } from "./openAttemptQueries.ts";
import { saveLimits } from "./queueLimitStore.ts";
import type { QueueLimits } from "./queueLimits.ts";

const tenantPattern = /^[a-z0-9_-]{1,63}$/;
const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

function refuseUnless(isGood: boolean, field: string, description: string) {
  return isGood ? [] : [{ field, description }];
}

export function createJobInternalService(
  pool: Pool,
  moveJobs: MoveJobs,
  limits: Pick<QueueLimits, "expire">,
): JobInternalServiceServer {
  return {
    reportExecutions: unary(async ({ reports }) => {
      if (reports.length > 1_000) {
        throw new DomainError({ code: "INVALID_ARGUMENT", reason: "TOO_MANY", message: "reports: at most 1,000" });
      }
      const outcomes = reports.map((): ReportOutcome => "REPORT_OUTCOME_UNKNOWN");
      const byJob = Map.groupBy(reports.entries(), ([, { jobId }]) => jobId);
      await moveJobs([...byJob.keys()], (job, now, flow) => {
        const own = [...(byJob.get(job.id) ?? [])];
        const caused = own.map(([, message]) => ({ said: requireReport(message), causationId: message.causationId }));
        const { answers, decision } = reportsOf(job, caused, now, flow);
        for (const [at, [index]] of own.entries()) outcomes[index] = `REPORT_OUTCOME_${answers[at] ?? "UNKNOWN"}`;
        return decision;
      });
      return { outcomes };
    }),

    cancelJobs: unary(async ({ jobIds, reason, message }, { requestId }) => {
      const bad = badIds(jobIds, 1_000);
      if (reason !== "REASON_REPLACED") bad.push({ field: "reason", description: "must be REASON_REPLACED" });
      if (bad.length > 0) throw invalid(bad);
      const cancelledIds = new Set<string>();
      await moveJobs([...new Set(jobIds)], (job, now, flow) => {
        if (isJobTerminal(job.state)) return undefined;
        const cause = { reason: "REPLACED", message: message.slice(0, 256) };
        const decision = cancelOf(job, cause, requestId, now, flow);
        if (decision !== undefined) cancelledIds.add(job.id);
        return decision;
      });
      return { cancelledIds: [...cancelledIds] };
    }),

    setQueueLimits: unary(async ({ limits: told }) => {
      const bad = told.flatMap(({ tenant, queue, maxDepth, drainPerSecond }, index) => [
        ...refuseUnless(tenantPattern.test(tenant), `limits[${index}].tenant`, "is no tenant"),
        ...refuseUnless(namePattern.test(queue), `limits[${index}].queue`, "is no name of a queue"),
        ...refuseUnless(maxDepth >= 0, `limits[${index}].max_depth`, "must not be negative"),
        ...refuseUnless(drainPerSecond >= 0, `limits[${index}].drain_per_second`, "must not be negative"),
      ]);
      if (told.length > 1_000) bad.push({ field: "limits", description: "has more than 1,000" });
      if (bad.length > 0) throw invalid(bad);
      if (told.length > 0) await inTransaction(pool, (db) => saveLimits(db, told));
      limits.expire();
      return {};
    }),

    listOpenAttempts: unary(async ({ minAge, pageToken }) => {
      const query = { list: "open attempts" };
      const [state = "", id = ""] = decodePageToken(pageToken, query) ?? [];
      const after = pageToken === "" ? null : { state, id };
      const { attempts, last } = await listOpenAttempts(pool, { minAgeMs: Math.max(0, durationMs(minAge)), after });
      const nextPageToken = last === null ? "" : encodePageToken(query, [last.state, last.id]);
      return { attempts: [...attempts], nextPageToken };
    }),

    findEndedJobs: unary(async ({ jobIds }) => {
      const bad = badIds(jobIds, 1_000);
      if (bad.length > 0) throw invalid(bad);
      return findEndedJobs(pool, jobIds);
    }),

    readJobEvents: unary(async ({ cursors, tenant }, call) => {
      const bad = cursors.flatMap(({ afterSequence, newest }, index) => [
        ...refuseUnless(afterSequence >= 0, `cursors[${index}].after_sequence`, "must not be negative"),
        ...refuseUnless(newest >= 0, `cursors[${index}].newest`, "must not be negative"),
      ]);
      if (cursors.length > 1_000) bad.push({ field: "cursors", description: "has more than 1,000" });
      if (bad.length > 0) throw invalid(bad);
      // An id that cannot be one is as unknown as one that was never given out.
      const known = cursors.filter(({ jobId }) => isUuid(jobId));
      const pages = known.length === 0 ? [] : await readJobPages(pool, tenant || call.tenant, known);
      const pageOf = new Map<JobCursor, JobPage | null>(known.map((cursor, index) => [cursor, pages[index] ?? null]));
      return { pages: cursors.map((cursor) => pageMessage(pageOf.get(cursor) ?? null)) };
    }),
  };
}

function badIds(jobIds: readonly string[], most: number) {
  const bad = jobIds.flatMap((id, index) =>
    isUuid(id) ? [] : [{ field: `job_ids[${index}]`, description: "is not an id" }],
  );
  if (jobIds.length > most) bad.push({ field: "job_ids", description: `has more than ${most.toLocaleString("en")}` });
  return bad;
}

function requireReport(message: ExecutionReport) {
  const said = reportFromMessage(message);
  if (said !== null) return said;
  throw new DomainError({
    code: "INVALID_ARGUMENT",
    reason: "INVALID_FIELDS",
    message: "reports: an outcome is not given",
  });
}
