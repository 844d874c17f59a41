import { baseConfig } from "@capstan/service";
/** What the job service reads from its environment. */
import { z } from "zod";

export const configSchema = z.object({
  ...baseConfig,
  CAPSTAN_GRPC_ADDRESS: baseConfig.CAPSTAN_GRPC_ADDRESS.default("127.0.0.1:7101"),
  CAPSTAN_HEALTH_ADDRESS: baseConfig.CAPSTAN_HEALTH_ADDRESS.default("127.0.0.1:7181"),
});

export type Config = z.infer<typeof configSchema>;
