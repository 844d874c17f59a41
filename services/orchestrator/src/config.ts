/** What the orchestrator reads from its environment. */
import { baseConfig } from "@capstan/service";
import { z } from "zod";

const address = baseConfig.CAPSTAN_GRPC_ADDRESS;
const milliseconds = z.coerce.number().int().min(50).max(600_000);

export const configSchema = z.object({
  ...baseConfig,
  CAPSTAN_GRPC_ADDRESS: address.default("127.0.0.1:7104"),
  CAPSTAN_HEALTH_ADDRESS: baseConfig.CAPSTAN_HEALTH_ADDRESS.default("127.0.0.1:7184"),
  CAPSTAN_JOB_ADDRESS: address.default("127.0.0.1:7101").describe("gRPC address of the job service"),
  CAPSTAN_PROVIDER_ADDRESS: address.default("127.0.0.1:7102").describe("gRPC address of the provider service"),
  CAPSTAN_EXECUTION_ADDRESS: address.default("127.0.0.1:7103").describe("gRPC address of the execution service"),
  CAPSTAN_RECONCILE_INTERVAL_MS: z.coerce
    .number()
    .int()
    .min(50)
    .max(3_600_000)
    .default(30_000)
    .describe("Pause between comparisons of the sagas with what the other services have"),
  CAPSTAN_CALL_TIMEOUT_MS: milliseconds
    .max(10_000)
    .default(10_000)
    .describe("How long a call to another service may take; then it is asked again"),
  CAPSTAN_WAKE_INTERVAL_MS: milliseconds
    .default(1_000)
    .describe("Pause between looks for sagas whose stage has stood still for too long"),
  CAPSTAN_ACK_WAIT_MS: milliseconds
    .min(500)
    .default(4_000)
    .describe(
      "After this the facts in the hands of a replica that died go to another, or to the same one started again",
    ),
});

export type Config = z.infer<typeof configSchema>;
