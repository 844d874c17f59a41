/** What the orchestrator tells the job context: what became of executions. */
import { DomainError } from "@capstan/errors";
import { unary } from "@capstan/grpc";
import type {
  ExecutionReport,
  JobInternalServiceServer,
  ReportOutcome,
} from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import { report } from "./job.ts";
import { reportFromMessage } from "./jobProto.ts";
import type { CausedChange, MoveJobs } from "./moveJobs.ts";

export function createJobInternalService(moveJobs: MoveJobs): JobInternalServiceServer {
  return {
    reportExecutions: unary(async ({ reports }) => {
      if (reports.length > 1_000) {
        throw new DomainError({ code: "INVALID_ARGUMENT", reason: "TOO_MANY", message: "reports: at most 1,000" });
      }
      const outcomes = reports.map((): ReportOutcome => "REPORT_OUTCOME_UNKNOWN");
      const byJob = Map.groupBy(reports.entries(), ([, { jobId }]) => jobId);
      await moveJobs([...byJob.keys()], (job, now) => {
        const changes: CausedChange[] = [];
        let after = job;
        for (const [index, said] of byJob.get(job.id) ?? []) {
          const answer = report(after, requireReport(said), now, Math.random());
          outcomes[index] = `REPORT_OUTCOME_${answer.outcome}`;
          if (answer.outcome !== "APPLIED") continue;
          after = answer.change === null ? answer.job : answer.change.job;
          if (answer.change !== null) changes.push({ change: answer.change, causationId: said.causationId });
        }
        return after === job ? undefined : { changes, after };
      });
      return { outcomes };
    }),
  };
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
