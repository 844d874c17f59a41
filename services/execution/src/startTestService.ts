/** The service as its own process, for the specs beside this file: started as in production, spoken to over gRPC. */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectTo, type PromiseClient } from "@capstan/grpc";
import {
  ExecutionInternalServiceClient,
  ExecutionStart,
} from "@capstan/proto/capstan/execution/v1/execution_internal_service.ts";
import { ExecutionServiceClient } from "@capstan/proto/capstan/execution/v1/execution_service.ts";
import { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { bareEnv } from "../../../test/support/bareEnv.ts";
import { queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { createServiceProcess } from "../../../test/support/serviceProcess.ts";

export interface TestService {
  readonly pid: number;
  readonly executions: PromiseClient<ExecutionServiceClient>;
  readonly internal: PromiseClient<ExecutionInternalServiceClient>;
  /** Where it listens, host:port. */
  readonly address: string;
  /** Sends the signal and answers when the process has ended: its exit code, or the name of the signal. */
  end(signal: "SIGTERM" | "SIGKILL"): Promise<number | string>;
}

interface TestServiceOptions {
  readonly database: TestDatabase;
  readonly natsUrl: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Answers when it is ready. Its times are short, so that take-overs need no patience; no provider service is there to ask it. */
export async function startTestService({ database, natsUrl, env }: TestServiceOptions): Promise<TestService> {
  const directory = await mkdtemp(join(tmpdir(), "capstan-execution-"));
  const service = createServiceProcess({
    name: "execution",
    grpcAddress: "127.0.0.1:0",
    healthAddress: "127.0.0.1:0",
    env: {
      ...bareEnv,
      CAPSTAN_DATABASE_URL: database.urlOf("execution"),
      CAPSTAN_NATS_URL: natsUrl,
      CAPSTAN_PROVIDER_ADDRESS: "127.0.0.1:1",
      CAPSTAN_WORK_DIR: directory,
      CAPSTAN_LEASE_MS: "3000",
      CAPSTAN_WORKER_LEASE_MS: "3000",
      CAPSTAN_TAKE_OVER_INTERVAL_MS: "300",
      CAPSTAN_STOP_POLL_MS: "100",
      CAPSTAN_REAP_INTERVAL_MS: "500",
      ...env,
    },
  });
  await service.start();
  const address = String(service.log.findLast(({ msg }) => msg === "ready")?.["grpcAddress"]);
  const executions = connectTo(ExecutionServiceClient, address);
  const internal = connectTo(ExecutionInternalServiceClient, address);
  return {
    pid: service.pid,
    executions,
    internal,
    address,
    async end(signal) {
      const ended = await service.kill(signal);
      executions.close();
      internal.close();
      await rm(directory, { recursive: true, force: true });
      return ended;
    },
  };
}

/** A start of one process with defaults for everything that does not matter to the test. */
export function startOf(spec: Partial<StepSpec>, more: Partial<ExecutionStart> = {}): ExecutionStart {
  return {
    ...ExecutionStart.fromPartial({}),
    executionId: randomUUID(),
    tenant: "default",
    jobId: randomUUID(),
    step: "main",
    attempt: 1,
    providerId: "00000000-0000-4000-8000-000000000001",
    providerName: "local",
    kind: "PROVIDER_KIND_PROCESS",
    spec: { ...StepSpec.fromPartial({ name: "main" }), ...spec },
    ...more,
  };
}

interface SeenFact {
  readonly sequence: number;
  readonly event: string;
  readonly data: Record<string, unknown>;
}

/** The facts of an execution in the order of the log. */
export async function factsOf(database: TestDatabase, executionId: string): Promise<readonly SeenFact[]> {
  const rows = await queryOnce(
    database.adminUrl,
    "select sequence, event, data from execution.event where aggregate_id = $1 order by sequence",
    [executionId],
  );
  return rows as unknown as SeenFact[];
}
