import { expect, test } from "vitest";
import { z } from "zod";
import { baseConfig, ConfigError, readConfig } from "./config.ts";

const schema = z.object({
  ...baseConfig,
  CAPSTAN_GRPC_ADDRESS: baseConfig.CAPSTAN_GRPC_ADDRESS.default("127.0.0.1:7101"),
  CAPSTAN_HEALTH_ADDRESS: baseConfig.CAPSTAN_HEALTH_ADDRESS.default("127.0.0.1:7181"),
});
const url = "postgres://capstan_job:hunter2@localhost:7132/capstan";

function problemsOf(env: NodeJS.ProcessEnv): readonly string[] {
  try {
    readConfig(schema, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
  }
  throw new Error("the configuration was not refused");
}

test("what is not set has its default", () => {
  expect(readConfig(schema, { CAPSTAN_DATABASE_URL: url, PATH: "/bin" })).toEqual({
    CAPSTAN_DATABASE_URL: url,
    CAPSTAN_NATS_URL: "nats://127.0.0.1:7122",
    CAPSTAN_GRPC_ADDRESS: "127.0.0.1:7101",
    CAPSTAN_HEALTH_ADDRESS: "127.0.0.1:7181",
    CAPSTAN_GRPC_REFLECTION: false,
    CAPSTAN_STATEMENT_TIMEOUT_MS: 10_000,
    CAPSTAN_LOG_LEVEL: "info",
  });
});

test("a process that was given failpoints and is no test does not start", () => {
  const env = { CAPSTAN_DATABASE_URL: url, CAPSTAN_FAILPOINTS: "/tmp", NODE_ENV: "production" };
  expect(problemsOf(env)).toEqual([expect.stringMatching(/^CAPSTAN_FAILPOINTS: .*test/)]);
});

test("a variable that is empty is not set", () => {
  expect(readConfig(schema, { CAPSTAN_DATABASE_URL: url, CAPSTAN_LOG_LEVEL: "" }).CAPSTAN_LOG_LEVEL).toBe("info");
  expect(problemsOf({ CAPSTAN_DATABASE_URL: "" })).toEqual(["CAPSTAN_DATABASE_URL: is required"]);
});

test("every problem is listed, with the name of its variable", () => {
  const problems = problemsOf({
    CAPSTAN_NATS_URL: "localhost",
    CAPSTAN_GRPC_ADDRESS: "7101",
    CAPSTAN_HEALTH_ADDRESS: "127.0.0.1:99999",
    CAPSTAN_GRPC_REFLECTION: "maybe",
    CAPSTAN_LOG_LEVEL: "loud",
  });
  expect(problems.map((problem) => problem.split(":")[0])).toEqual([
    "CAPSTAN_DATABASE_URL",
    "CAPSTAN_NATS_URL",
    "CAPSTAN_GRPC_ADDRESS",
    "CAPSTAN_HEALTH_ADDRESS",
    "CAPSTAN_GRPC_REFLECTION",
    "CAPSTAN_LOG_LEVEL",
  ]);
});

test("the value of a variable is never shown", () => {
  expect(problemsOf({ CAPSTAN_DATABASE_URL: "mysql://root:hunter2@localhost/x" }).join()).not.toContain("hunter2");
});

test.each(["127.0.0.1:0", "0.0.0.0:7101", "localhost:7101", "[::1]:7101"])("%s is an address", (address) => {
  const config = readConfig(schema, { CAPSTAN_DATABASE_URL: url, CAPSTAN_GRPC_ADDRESS: address });
  expect(config.CAPSTAN_GRPC_ADDRESS).toBe(address);
});
