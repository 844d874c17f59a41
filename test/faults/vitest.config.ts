/** The whole product of failpoints, modes and stages, for `npm run test:faults`; what `npm test` runs of it is in test/e2e. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: new URL("../..", import.meta.url).pathname,
    name: "faults",
    include: ["test/faults/**/*.faults.spec.ts"],
    globalSetup: ["test/support/globalSetup.ts"],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
