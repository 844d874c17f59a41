/** A job is cancelled while its handler runs: the handler's signal aborts, and waiting for the result fails with why. */
import { setTimeout as sleep } from "node:timers/promises";
import { connect, JobFailed } from "@capstan/client";

const capstan = connect({ address: process.env["CAPSTAN_ADDRESS"] ?? "127.0.0.1:7100" });
const worker = await capstan.worker({
  pool: "patient",
  slots: 10,
  handlers: {
    wait: async (_input, { signal }) => {
      await sleep(600_000, undefined, { signal });
    },
  },
});

const job = await capstan.jobs.submit({ name: "wait", handler: "wait", pool: "patient", stopGraceMs: 5_000 });
for await (const { state } of job.events()) if (state === "RUNNING") break;

// Giving up waiting is not giving up the job.
await job.result({ signal: AbortSignal.timeout(100) }).catch((error) => console.log(error.code));

await job.cancel({ message: "not needed any more" });
await job.result().catch((error) => {
  if (error instanceof JobFailed) console.log(error.state, error.reason, error.message);
});

await worker.stop();
capstan.close();
