/** Three projects: `unit` touches nothing, `integration` needs Postgres and NATS, `e2e` runs the services as processes. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

// Hundreds of services and commands are started: what Node has compiled once need not be compiled again, half the cost of a start.
process.env["NODE_COMPILE_CACHE"] ??= join(tmpdir(), `capstan-compile-cache-${process.getuid?.() ?? 0}`);

const real = { environment: "node", testTimeout: 60_000, hookTimeout: 120_000 } as const;

export default defineConfig({
  test: {
    // Spec files share nothing but the servers of the run, and wait most of their time.
    maxWorkers: 3,
    projects: [
      { test: { name: "unit", testTimeout: 60_000, include: ["{libs,services,proto,test}/**/*.unit.spec.ts"] } },
      {
        test: {
          ...real,
          name: "integration",
          include: ["{libs,services,test}/**/*.int.spec.ts"],
          globalSetup: ["test/support/globalSetup.ts"],
        },
      },
      {
        test: {
          ...real,
          name: "e2e",
          include: ["test/e2e/**/*.e2e.spec.ts"],
          globalSetup: ["test/support/globalSetup.ts"],
        },
      },
    ],
  },
});
