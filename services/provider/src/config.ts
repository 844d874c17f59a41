/** What the provider service reads from its environment. */
import { baseConfig } from "@capstan/service";
import { z } from "zod";

export const configSchema = z.object({
  ...baseConfig,
  CAPSTAN_GRPC_ADDRESS: baseConfig.CAPSTAN_GRPC_ADDRESS.default("127.0.0.1:7102"),
  CAPSTAN_HEALTH_ADDRESS: baseConfig.CAPSTAN_HEALTH_ADDRESS.default("127.0.0.1:7182"),
  CAPSTAN_HEALTH_FAILURE_THRESHOLD: z.coerce
    .number()
    .int()
    .min(1)
    .max(100)
    .default(3)
    .describe("Failed probes in a row that make a provider UNHEALTHY"),
  CAPSTAN_EXPIRE_INTERVAL_MS: z.coerce
    .number()
    .int()
    .min(50)
    .max(600_000)
    .default(10_000)
    .describe("Longest time that an unconfirmed reservation outlives its hold"),
  CAPSTAN_RESERVATION_RETENTION_HOURS: z.coerce
    .number()
    .min(1)
    .max(8_760)
    .default(24)
    .describe("How long ended reservations are kept, so that a repeated command is answered as before"),
});

export type Config = z.infer<typeof configSchema>;
