/**
 * Configuration comes from the environment, is read once, and is refused as a whole: every problem is listed with the name
 * of its variable, and never with its value, which may be a secret.
 */
import { refusedFailpoints } from "@capstan/failpoints";
import { z } from "zod";

const address = z
  .string()
  .regex(/^(\[[0-9a-fA-F:]+\]|[^\s:[\]]+):\d{1,5}$/, {
    error: "must be host:port, for example 127.0.0.1:7101",
    abort: true,
  })
  .refine((text) => Number(text.slice(text.lastIndexOf(":") + 1)) <= 65_535, "must have a port up to 65535");

/**
 * The variables all services share, to be spread into a service's own schema. The two addresses have no default here, because
 * each service has ports of its own: `CAPSTAN_GRPC_ADDRESS: baseConfig.CAPSTAN_GRPC_ADDRESS.default("127.0.0.1:7101")`.
 */
export const baseConfig = {
  CAPSTAN_DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: "must be a postgres:// URL" })
    .describe("Postgres, with the role of this service: postgres://user:password@host:port/database"),
  CAPSTAN_NATS_URL: z
    .string()
    .regex(/^(nats|tls|wss?):\/\/\S+$/, "must be a nats:// URL, or several separated by commas")
    .default("nats://127.0.0.1:7122")
    .describe("NATS servers, separated by commas"),
  CAPSTAN_GRPC_ADDRESS: address.describe("Where gRPC listens; loopback unless told otherwise"),
  CAPSTAN_HEALTH_ADDRESS: address.describe("Where /healthz, /readyz and /metrics listen"),
  CAPSTAN_GRPC_REFLECTION: z
    .stringbool({ error: "must be true or false" })
    .default(false)
    .describe("Whether tools may list the services and messages; for development"),
  CAPSTAN_STATEMENT_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .min(100)
    .max(600_000)
    .default(10_000)
    .describe(
      "How long a statement may take in Postgres; a server that says nothing is given up after half as long again",
    ),
  CAPSTAN_LOG_LEVEL: z
    .enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
    .default("info")
    .describe("The least severe level that is logged"),
};

/** What `runService` itself reads of a service's configuration. */
export type BaseConfig = {
  readonly [K in Exclude<
    keyof typeof baseConfig,
    "CAPSTAN_DATABASE_URL" | "CAPSTAN_NATS_URL" | "CAPSTAN_STATEMENT_TIMEOUT_MS"
  >]: z.infer<(typeof baseConfig)[K]>;
};

/** The process cannot start as configured; the message lists every problem, one a line. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`the configuration is not valid:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** Reads and checks the environment; a variable that is set but empty counts as not set. Throws ConfigError. */
export function readConfig<S extends z.ZodType>(schema: S, env: NodeJS.ProcessEnv): z.infer<S> {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ""));
  const refused = refusedFailpoints(env);
  if (refused !== null) throw new ConfigError([refused]);
  const result = schema.safeParse(set);
  if (result.success) return result.data;
  throw new ConfigError(
    result.error.issues.map((issue) => {
      const name = issue.path.join(".");
      return `${name}: ${name in set ? issue.message : "is required"}`;
    }),
  );
}
