/** What the execution service reads from its environment. */
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { baseConfig } from "@capstan/service";
import { z } from "zod";

const address = baseConfig.CAPSTAN_GRPC_ADDRESS;
const milliseconds = z.coerce.number().int().min(50).max(3_600_000);

export const configSchema = z.object({
  ...baseConfig,
  CAPSTAN_GRPC_ADDRESS: address.default("127.0.0.1:7103"),
  CAPSTAN_HEALTH_ADDRESS: baseConfig.CAPSTAN_HEALTH_ADDRESS.default("127.0.0.1:7183"),
  CAPSTAN_PROVIDER_ADDRESS: address.default("127.0.0.1:7102").describe("gRPC address of the provider service"),
  CAPSTAN_CALL_TIMEOUT_MS: milliseconds
    .max(10_000)
    .default(10_000)
    .describe("How long a call to another service may take; then it is asked again"),
  CAPSTAN_LOG_CAP_BYTES: z.coerce
    .number()
    .int()
    .min(1_024)
    .max(1_073_741_824)
    .default(16_777_216)
    .describe("Stored output of one execution at most, both streams together; the rest is counted as dropped"),
  CAPSTAN_WORK_DIR: z
    .string()
    .default(join(tmpdir(), "capstan"))
    .describe("Where processes get their working directories; may be shared by runners of one machine"),
  CAPSTAN_CONTAINER_STARTS: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000)
    .default(2 * availableParallelism())
    .describe("Starts that one container engine is asked for at once; the others wait in order"),
  CAPSTAN_LEASE_MS: milliseconds
    .default(30_000)
    .describe("How long a runner that says nothing keeps its executions; it renews at a third of it"),
  CAPSTAN_WORKER_LEASE_MS: milliseconds
    .default(30_000)
    .describe("How long a worker that says nothing keeps its executions; it stops them at two thirds of it"),
  CAPSTAN_TAKE_OVER_INTERVAL_MS: milliseconds.default(10_000).describe("Pause between looks for dead runners"),
  CAPSTAN_STOP_POLL_MS: milliseconds
    .default(2_000)
    .describe("Pause between looks for stops recorded by other replicas"),
  CAPSTAN_REAP_INTERVAL_MS: milliseconds
    .default(30_000)
    .describe("Pause between comparisons of the engines' objects with the live executions"),
  CAPSTAN_PROBE_INTERVAL_MS: milliseconds.default(10_000).describe("Pause between probes of the providers"),
  CAPSTAN_PROBE_TIMEOUT_MS: milliseconds.default(3_000).describe("How long a provider may take to answer a probe"),
});

export type Config = z.infer<typeof configSchema>;
