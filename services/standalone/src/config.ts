/** What the standalone platform reads from its environment. The variables of each service hold here too. */
import { configSchema as gatewayConfig } from "@capstan/gateway-service";
import { baseConfig } from "@capstan/service";
import { z } from "zod";

const port = (variable: string) =>
  z.coerce.number().int().min(0).max(65_535).describe(`Port of the embedded ${variable}; 0 picks a free one`);

export const configSchema = z.object({
  ...baseConfig,
  CAPSTAN_DATABASE_URL: baseConfig.CAPSTAN_DATABASE_URL.optional().describe(
    "Postgres, with a role that may create roles and schemas; an embedded server when not set",
  ),
  CAPSTAN_NATS_URL: z
    .string()
    .optional()
    .describe("NATS servers, separated by commas; an embedded server when not set"),
  CAPSTAN_GRPC_ADDRESS: baseConfig.CAPSTAN_GRPC_ADDRESS.default("127.0.0.1:7100"),
  CAPSTAN_HEALTH_ADDRESS: baseConfig.CAPSTAN_HEALTH_ADDRESS.default("127.0.0.1:7180"),
  CAPSTAN_HTTP_ADDRESS: gatewayConfig.shape.CAPSTAN_HTTP_ADDRESS,
  CAPSTAN_PUBLIC_PATH: gatewayConfig.shape.CAPSTAN_PUBLIC_PATH,
  CAPSTAN_GRPC_REFLECTION: baseConfig.CAPSTAN_GRPC_REFLECTION.unwrap().default(true),
  CAPSTAN_LOG_LEVEL: baseConfig.CAPSTAN_LOG_LEVEL.unwrap().default("warn"),
  CAPSTAN_DATA_DIR: z.string().default(".capstan").describe("Where the embedded servers keep their data"),
  CAPSTAN_POSTGRES_PORT: port("Postgres").default(7132),
  CAPSTAN_NATS_PORT: port("NATS").default(7122),
  CAPSTAN_PROVIDERS: z
    .stringbool({ error: "must be true or false" })
    .default(true)
    .describe("Whether the providers `local` and `docker` are registered when they are missing"),
});

export type Config = z.infer<typeof configSchema>;
