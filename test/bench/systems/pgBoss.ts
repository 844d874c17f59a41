/**
 * pg-boss with handlers that take a batch, fetched again at once while there is more. Woken by NOTIFY its handlers start soon, but
 * every commit of a submit waits for the one before; polling each half second, its least, it is the other way round. So it is
 * measured both ways.
 */
import { PgBoss } from "pg-boss";
import type { Input, System } from "./system.ts";

const queue = "bench";

export async function openPgBoss(connectionString: string, notify: boolean): Promise<System> {
  const boss = new PgBoss({ connectionString, max: 25, useListenNotify: notify });
  boss.on("error", (error) => process.stderr.write(`pg-boss: ${error}\n`));
  await boss.start();
  await boss.createQueue(queue, { notify });
  return {
    async submitBatch(inputs) {
      await boss.insert(
        queue,
        inputs.map((data) => ({ data })),
      );
    },
    async submit(input) {
      await boss.send(queue, input);
    },
    submitUnary: null,
    async work(slots, handle) {
      const options = { batchSize: Math.min(slots, 1_000), burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 };
      await boss.work<Input>(queue, options, async (jobs) => {
        for (const { data } of jobs) handle(data);
      });
      return { stop: () => boss.offWork(queue, { wait: true }) };
    },
    async close() {
      await boss.stop({ graceful: true, timeout: 10_000 });
    },
  };
}
