/** The service as its own process, for the specs beside this file: started as in production, spoken to over gRPC. */
import { connectTo, type PromiseClient } from "@capstan/grpc";
import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import {
  ExecutionReport,
  JobInternalServiceClient,
  type ReportOutcome,
} from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import { JobServiceClient, SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { ScheduleServiceClient } from "@capstan/proto/capstan/job/v1/schedule_service.ts";
import { TemplateServiceClient } from "@capstan/proto/capstan/job/v1/template_service.ts";
import { bareEnv } from "../../../test/support/bareEnv.ts";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import type { JobPart, StepPart } from "../../../test/support/jobs.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { createServiceProcess } from "../../../test/support/serviceProcess.ts";

export interface TestService {
  readonly jobs: PromiseClient<JobServiceClient>;
  readonly internal: PromiseClient<JobInternalServiceClient>;
  readonly templates: PromiseClient<TemplateServiceClient>;
  readonly schedules: PromiseClient<ScheduleServiceClient>;
  /** Sends the signal and answers when the process has ended: its exit code, or the name of the signal. */
  end(signal: "SIGTERM" | "SIGKILL"): Promise<number | string>;
}

/** Answers when it is ready. Several on one database are replicas of each other. */
export async function startTestService(database: TestDatabase, natsUrl: string): Promise<TestService> {
  const service = createServiceProcess({
    name: "job",
    grpcAddress: "127.0.0.1:0",
    healthAddress: "127.0.0.1:0",
    env: { ...bareEnv, CAPSTAN_DATABASE_URL: database.urlOf("job"), CAPSTAN_NATS_URL: natsUrl },
  });
  await service.start();
  const address = String(service.log.findLast(({ msg }) => msg === "ready")?.["grpcAddress"]);
  const jobs = connectTo(JobServiceClient, address);
  const internal = connectTo(JobInternalServiceClient, address);
  const templates = connectTo(TemplateServiceClient, address);
  const schedules = connectTo(ScheduleServiceClient, address);
  return {
    jobs,
    internal,
    templates,
    schedules,
    async end(signal) {
      jobs.close();
      internal.close();
      templates.close();
      schedules.close();
      return service.kill(signal);
    },
  };
}

interface TestPair {
  readonly database: TestDatabase;
  readonly nats: TestNats;
  readonly first: TestService;
  readonly second: TestService;
  /** Ends all of it. */
  stop(): Promise<void>;
}

/** Two replicas on a database and a broker of their own. */
export async function startTestPair(): Promise<TestPair> {
  const [database, nats] = await Promise.all([createTestDatabase("job"), startTestNats()]);
  const start = () => startTestService(database, nats.url);
  const [first, second] = await Promise.all([start(), start()]);
  return {
    database,
    nats,
    first,
    second,
    async stop() {
      await Promise.all([first.end("SIGTERM"), second.end("SIGTERM")]);
      await Promise.all([database.drop(), nats.release()]);
    },
  };
}

export type Steps = readonly (StepPart & { readonly name: string })[];

/** Submits a job of these steps. */
export async function submitSteps({ jobs }: Pick<TestService, "jobs">, steps: Steps, job: JobPart = {}): Promise<Job> {
  const part = { spec: { name: "waits", ...job, steps } };
  const request = SubmitJobRequest.fromPartial(part as Parameters<typeof SubmitJobRequest.fromPartial>[0]);
  const answer = await jobs.submitJob(request);
  if (answer.job === undefined) throw new Error("no job");
  return answer.job;
}

export function stepNamed(job: Job, name: string) {
  return job.steps.find((each) => each.name === name);
}

type Outcome = "WAITING" | "STARTED" | "SUCCEEDED" | "FAILED" | "CANCELLED" | "TIMED_OUT" | "LOST";

/** What became of the first attempt of a job's step, unless told otherwise. */
export function reportOf(jobId: string, outcome: Outcome, more: Partial<ExecutionReport> = {}): ExecutionReport {
  return {
    ...ExecutionReport.fromPartial({ jobId, step: "main", attempt: 1, executionId: jobId, providerName: "local" }),
    outcome: `EXECUTION_OUTCOME_${outcome}`,
    ...more,
  };
}

/** Reports in one call; the answers without their prefix. */
export async function report(
  { internal }: Pick<TestService, "internal">,
  ...reports: readonly ExecutionReport[]
): Promise<readonly string[]> {
  const { outcomes } = await internal.reportExecutions({ reports: [...reports] });
  return outcomes.map((outcome: ReportOutcome) => outcome.slice("REPORT_OUTCOME_".length));
}

/** The facts of a job as the log has them, `job.submitted` first; `*` marks a terminal one. */
export async function factsOf(database: TestDatabase, jobId: string): Promise<readonly string[]> {
  const rows = await queryOnce(
    database.adminUrl,
    `select noun || '.' || event || case when is_terminal then '*' else '' end as fact
       from job.event where aggregate_id = $1 order by sequence`,
    [jobId],
  );
  return rows.map(({ fact }) => String(fact));
}
