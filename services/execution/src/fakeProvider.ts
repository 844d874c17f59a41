/** The provider service as workers' runners see it, for the specs beside this file: takes reports of pools, and keeps them. */
import { invalid } from "@capstan/errors";
import { serve, unary } from "@capstan/grpc";
import {
  type PoolReport,
  ProviderInternalServiceService,
  type ReportPoolsRequest,
} from "@capstan/proto/capstan/provider/v1/provider_internal_service.ts";
import { onTestFinished } from "vitest";
import { createTestLog } from "../../../test/support/database.ts";

interface FakeProvider {
  readonly address: string;
  /** The last report of each pool by its name. */
  readonly reported: ReadonlyMap<string, PoolReport>;
  /** Calls that wait for their answer. */
  readonly waiting: number;
  /** Answers nothing from now on. */
  pause(): void;
  /** Answers again, also what waits. */
  resume(): void;
}

/** As the contract says it. */
const maxReports = 1_000;

export async function startFakeProvider(): Promise<FakeProvider> {
  const reported = new Map<string, PoolReport>();
  let waiting = 0;
  let paused: PromiseWithResolvers<void> | null = null;
  const reportPools = unary(async ({ pools }: ReportPoolsRequest) => {
    if (pools.length > maxReports) throw invalid([{ field: "pools", description: "has too many" }]);
    waiting += 1;
    await paused?.promise;
    waiting -= 1;
    for (const pool of pools) reported.set(pool.name, pool);
    return { answers: pools.map(() => ({ providerId: "00000000-0000-4000-8000-000000000001", refusal: "" })) };
  });
  const server = await serve({
    address: "127.0.0.1:0",
    services: [
      { definition: { reportPools: ProviderInternalServiceService.reportPools }, implementation: { reportPools } },
    ],
    health: () => true,
    drainMs: 100,
    log: createTestLog(),
  });
  const resume = () => {
    paused?.resolve();
    paused = null;
  };
  onTestFinished(() => {
    resume();
    return server.stop();
  });
  return {
    address: `127.0.0.1:${server.port}`,
    reported,
    get waiting() {
      return waiting;
    },
    pause() {
      paused ??= Promise.withResolvers();
    },
    resume,
  };
}
