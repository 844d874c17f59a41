/** What the gateway reads from its environment. */
import { baseConfig } from "@capstan/service";
import { z } from "zod";

const address = baseConfig.CAPSTAN_GRPC_ADDRESS;

const list = (pattern: RegExp, error: string) =>
  z
    .string()
    .default("")
    .transform((text) => text.split(",").flatMap((part) => part.trim().toLowerCase() || []))
    .refine((parts) => parts.every((part) => pattern.test(part)), error);

const count = (least: number, most: number, usual: number) =>
  z.coerce
    .number()
    .int("must be a whole number")
    .min(least, `must be at least ${least}`)
    .max(most, `must be at most ${most}`)
    .default(usual);

export const configSchema = z.object({
  ...baseConfig,
  CAPSTAN_GRPC_ADDRESS: address.default("127.0.0.1:7107"),
  CAPSTAN_HEALTH_ADDRESS: baseConfig.CAPSTAN_HEALTH_ADDRESS.default("127.0.0.1:7187"),
  CAPSTAN_HTTP_ADDRESS: address.default("127.0.0.1:7170").describe("Where the REST API and the console listen"),
  CAPSTAN_PUBLIC_PATH: z
    .string()
    .regex(/^\/([\w.~-]+\/)*$/, "must begin and end with a slash, for example /capstan/")
    .default("/")
    .describe("The path below which a proxy shows the gateway; the API is at <path>api/v1"),
  CAPSTAN_HTTP_HOSTS: list(/^[a-z0-9.-]+$/, "must be names of hosts without ports, separated by commas").describe(
    "Names by which the gateway may be called, beside localhost and any address in figures",
  ),
  CAPSTAN_HTTP_ORIGINS: list(
    /^https?:\/\/[^/\s,]+$/,
    "must be origins such as https://example.org, separated by commas",
  ).describe("Origins of other web pages that may call it from a browser (CORS)"),
  CAPSTAN_HTTP_TRUSTED_PROXIES: list(
    /^[0-9a-f.:/]+$/,
    "must be addresses or networks such as 10.0.0.0/8, separated by commas",
  ).describe("Proxies whose X-Forwarded-For says who calls"),
  CAPSTAN_HTTP_RATE_LIMIT: z.coerce
    .number()
    .int()
    .min(0)
    .max(1_000_000)
    .default(6_000)
    .describe("Requests that one address may make within 10 s; 0: any number"),
  CAPSTAN_HTTP_CHECK_ANSWERS: z
    .stringbool({ error: "must be true or false" })
    .default(false)
    .describe("Whether answers are checked against their schemas, as requests always are; for tests"),
  CAPSTAN_LIVE_MAX_SESSIONS: count(1, 100_000, 5_000).describe("Live clients of this process at most"),
  CAPSTAN_LIVE_MAX_SUBSCRIPTIONS: count(1, 10_000, 100).describe("Subscriptions of one WebSocket at most"),
  CAPSTAN_LIVE_MAX_MESSAGE_BYTES: count(1_024, 1_048_576, 16_384).describe("Bytes of a message on a WebSocket at most"),
  CAPSTAN_LIVE_MAX_REPLAY: count(0, 2_000, 1_000).describe("Past events that a live client may ask for at most"),
  CAPSTAN_LIVE_HEARTBEAT_MS: count(1_000, 60_000, 15_000).describe("How often live clients are told that we are there"),
  CAPSTAN_JOB_ADDRESS: address.default("127.0.0.1:7101").describe("gRPC address of the job service"),
  CAPSTAN_PROVIDER_ADDRESS: address.default("127.0.0.1:7102").describe("gRPC address of the provider service"),
  CAPSTAN_EXECUTION_ADDRESS: address.default("127.0.0.1:7103").describe("gRPC address of the execution service"),
  CAPSTAN_ORCHESTRATOR_ADDRESS: address.default("127.0.0.1:7104").describe("gRPC address of the orchestrator"),
});

export type Config = z.infer<typeof configSchema>;
