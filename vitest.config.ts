/** Three projects: `unit` touches nothing, `integration` needs Postgres and NATS, `e2e` runs the services as processes. */
import { defineConfig } from "vitest/config";

const real = { environment: "node", testTimeout: 60_000, hookTimeout: 120_000 } as const;

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["{libs,services,proto,test}/**/*.unit.spec.ts"] } },
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
          fileParallelism: false,
        },
      },
    ],
  },
});
