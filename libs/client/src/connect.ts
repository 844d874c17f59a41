/**
 * One connection to a Capstan: jobs to submit and follow, workers to run them, and a typed client per public service. Every call has
 * a deadline, and what the platform refuses is thrown as a `DomainError`. The clients share one HTTP/2 connection: grpc-js pools by
 * address.
 */
import { connectTo, type PromiseClient } from "@capstan/grpc/client";
import { ExecutionServiceClient } from "@capstan/proto/capstan/execution/v1/execution_service.ts";
import { WorkerServiceClient } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import { JobServiceClient } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { ScheduleServiceClient } from "@capstan/proto/capstan/job/v1/schedule_service.ts";
import { TemplateServiceClient } from "@capstan/proto/capstan/job/v1/template_service.ts";
import { QueueServiceClient } from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import { SagaServiceClient } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import { ProviderServiceClient } from "@capstan/proto/capstan/provider/v1/provider_service.ts";
import { SystemServiceClient } from "@capstan/proto/capstan/system/v1/system_service.ts";
import type { Handlers } from "./handlers.ts";
import { type JobsClient, openJobs } from "./jobs.ts";
import { startWorker, type Worker, type WorkerOptions } from "./worker.ts";

export interface Addresses {
  readonly jobs?: string;
  readonly providers?: string;
  /** One, or that of each runner: a worker takes one of them, and another when that fails. */
  readonly executions?: string | readonly string[];
  /** Of sagas and queues. */
  readonly sagas?: string;
}

export interface ConnectOptions {
  /** `host:port` of a platform that answers for all services. */
  readonly address: string;
  /** `host:port` of services that run alone, each in place of `address`. */
  readonly addresses?: Addresses;
  /** Deadline of a unary call that names none, and of a submit. Default 10,000 ms. */
  readonly deadlineMs?: number;
}

export interface Capstan<H extends Handlers = Handlers> {
  readonly jobs: JobsClient<H>;
  readonly templates: PromiseClient<TemplateServiceClient>;
  readonly schedules: PromiseClient<ScheduleServiceClient>;
  readonly providers: PromiseClient<ProviderServiceClient>;
  readonly executions: PromiseClient<ExecutionServiceClient>;
  readonly sagas: PromiseClient<SagaServiceClient>;
  readonly queues: PromiseClient<QueueServiceClient>;
  /** The workers that are connected, to look at. */
  readonly workers: Pick<PromiseClient<WorkerServiceClient>, "listWorkers">;
  /** How the services are, by the address at which each is called: one where they share it. */
  readonly systems: ReadonlyMap<string, PromiseClient<SystemServiceClient>>;
  /**
   * Runs handlers for a pool. Resolves once the platform has accepted the worker, which may take for ever where nobody answers, and
   * rejects with what it was refused for. From then on it connects again by itself.
   */
  worker(options: WorkerOptions<H>): Promise<Worker>;
  /** Ends the connection; workers should have been stopped before. Calls under way fail with CANCELLED. */
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
  const templates = connectTo(TemplateServiceClient, addresses.jobs ?? address, { deadlineMs });
  const schedules = connectTo(ScheduleServiceClient, addresses.jobs ?? address, { deadlineMs });
  const providers = connectTo(ProviderServiceClient, addresses.providers ?? address, { deadlineMs });
  const runners = [addresses.executions ?? address].flat();
  const executions = connectTo(ExecutionServiceClient, runners[0] ?? address, { deadlineMs });
  const sagas = connectTo(SagaServiceClient, addresses.sagas ?? address, { deadlineMs });
  const queues = connectTo(QueueServiceClient, addresses.sagas ?? address, { deadlineMs });
  const workers = connectTo(WorkerServiceClient, runners[0] ?? address, { deadlineMs });
  const called = [addresses.jobs, addresses.providers, ...runners, addresses.sagas].map((given) => given ?? address);
  const systems = new Map(
    [...new Set(called)].map((each) => [each, connectTo(SystemServiceClient, each, { deadlineMs })]),
  );
  return {
    jobs: openJobs<H>(jobs, { deadlineMs, closed: closing.signal }),
    templates,
    schedules,
    providers,
    executions,
    sagas,
    queues,
    workers,
    systems,
    worker: (workerOptions) => startWorker(workerOptions, { addresses: runners, closed: closing.signal }),
    close() {
      closing.abort();
      const clients = [jobs, templates, schedules, providers, executions, sagas, queues, workers, ...systems.values()];
      for (const client of clients) client.close();
    },
  };
}
