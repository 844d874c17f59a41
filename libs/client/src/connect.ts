/**
 * One connection to a Capstan, with a typed client per public service. Every call has a deadline, and what the platform
 * refuses is thrown as a `DomainError`. The four clients share one HTTP/2 connection: grpc-js pools by address.
 */
import { connectTo, type PromiseClient } from "@capstan/grpc";
import { ExecutionServiceClient } from "@capstan/proto/capstan/execution/v1/execution_service.ts";
import { JobServiceClient } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { SagaServiceClient } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import { ProviderServiceClient } from "@capstan/proto/capstan/provider/v1/provider_service.ts";

export interface ConnectOptions {
  /** `host:port` of a platform that answers for all services. */
  readonly address: string;
  /** `host:port` of services that run alone, each in place of `address`. */
  readonly addresses?: Partial<Readonly<Record<"jobs" | "providers" | "executions" | "sagas", string>>>;
  /** Deadline of a unary call that names none. Default 10,000 ms. */
  readonly deadlineMs?: number;
}

export interface Capstan {
  readonly jobs: PromiseClient<JobServiceClient>;
  readonly providers: PromiseClient<ProviderServiceClient>;
  readonly executions: PromiseClient<ExecutionServiceClient>;
  readonly sagas: PromiseClient<SagaServiceClient>;
  /** Ends the connection; calls under way fail with CANCELLED. */
  close(): void;
}

/** Connects on the first call, not here: an address where nobody listens is answered by that call with UNAVAILABLE. */
export function connect({ address, addresses = {}, ...options }: ConnectOptions): Capstan {
  const jobs = connectTo(JobServiceClient, addresses.jobs ?? address, options);
  const providers = connectTo(ProviderServiceClient, addresses.providers ?? address, options);
  const executions = connectTo(ExecutionServiceClient, addresses.executions ?? address, options);
  const sagas = connectTo(SagaServiceClient, addresses.sagas ?? address, options);
  return {
    jobs,
    providers,
    executions,
    sagas,
    close() {
      for (const client of [jobs, providers, executions, sagas]) client.close();
    },
  };
}
