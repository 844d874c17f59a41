/** graphile-worker with the settings of its own benchmark (its page "Performance"): local queue, completion in batches. */
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import type { Input, System } from "./system.ts";

const logger = new Logger(() => (level, message) => {
  if (level === "error") process.stderr.write(`graphile-worker: ${message}\n`);
});

export async function openGraphileWorker(connectionString: string): Promise<System> {
  const utils = await makeWorkerUtils({ connectionString, logger, maxPoolSize: 25 });
  await utils.migrate();
  return {
    async submitBatch(inputs) {
      await utils.addJobs(inputs.map((payload) => ({ identifier: "bench", payload })));
    },
    async submit(input) {
      await utils.addJob("bench", input);
    },
    submitUnary: null,
    async work(_slots, handle) {
      const worker = {
        localQueue: { size: 500 },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
        concurrentJobs: 24,
        maxPoolSize: 25,
      };
      const runner = await run({
        connectionString,
        logger,
        noHandleSignals: true,
        preset: { worker },
        taskList: { bench: (payload) => handle(payload as Input) },
        parsedCronItems: [],
      });
      return { stop: () => runner.stop() };
    },
    async close() {
      await utils.release();
    },
  };
}
