/**
 * One connection to a Capstan: jobs to submit and follow, workers to run them, and a typed client per public service. Every call has
 * a deadline, and what the platform refuses is thrown as a `DomainError`. The clients share one HTTP/2 connection: grpc-js pools by
 * address.
 */
import { connectTo, type PromiseClient } from "@capstan/grpc/client";
import { ExecutionServiceClient } from "@capstan/proto/capstan/execution/v1/execution_service.ts";
import { WorkerServiceClient } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { JobServiceClient } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { SagaServiceClient } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import { ProviderServiceClient } from "@capstan/proto/capstan/provider/v1/provider_service.ts";
import type { Handlers } from "./handlers.ts";
import { type JobsClient, openJobs } from "./jobs.ts";

export interface ConnectOptions {
  /** `host:port` of a platform that answers for all services. */
  readonly address: string;
  /** `host:port` of services that run alone, each in place of `address`. */
  readonly addresses?: Partial<Readonly<Record<"jobs" | "providers" | "executions" | "sagas", string>>>;
  /** Deadline of a unary call that names none, and of a submit. Default 10,000 ms. */
  readonly deadlineMs?: number;
}

export interface Capstan<H extends Handlers = Handlers> {
  readonly jobs: JobsClient<H>;
  readonly providers: PromiseClient<ProviderServiceClient>;
  readonly executions: PromiseClient<ExecutionServiceClient>;
  readonly sagas: PromiseClient<SagaServiceClient>;
  /** The workers that are connected, to look at. */
  readonly workers: Pick<PromiseClient<WorkerServiceClient>, "listWorkers">;
  /** Ends the connection; calls under way fail with CANCELLED. */
  close(): void;
}

const defaultDeadlineMs = 10_000;

/**
 * Connects on the first call, not here: an address where nobody listens is answered by that call with UNAVAILABLE. With the type of
 * handlers, `connect<typeof handlers>(…)`, submitting to them is typed.
 */
export function connect<H extends Handlers = Handlers>(options: ConnectOptions): Capstan<H> {
  const { address, addresses = {}, deadlineMs = defaultDeadlineMs } = options;
  const closing = new AbortController();
  const jobs = connectTo(JobServiceClient, addresses.jobs ?? address, { deadlineMs });
  const providers = connectTo(ProviderServiceClient, addresses.providers ?? address, { deadlineMs });
  const executions = connectTo(ExecutionServiceClient, addresses.executions ?? address, { deadlineMs });
  const sagas = connectTo(SagaServiceClient, addresses.sagas ?? address, { deadlineMs });
  const workers = connectTo(WorkerServiceClient, addresses.executions ?? address, { deadlineMs });
  return {
    jobs: openJobs<H>(jobs, { deadlineMs, closed: closing.signal }),
    providers,
    executions,
    sagas,
    workers,
    close() {
      closing.abort();
      for (const client of [jobs, providers, executions, sagas, workers]) client.close();
    },
  };
}
