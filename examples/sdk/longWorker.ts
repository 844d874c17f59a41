/** A worker as it runs for months: it says where it stands, and drains when its process is told to end. */
import { connect } from "@capstan/client";

const capstan = connect({ address: process.env["CAPSTAN_ADDRESS"] ?? "127.0.0.1:7100" });
const worker = await capstan.worker({
  pool: "long",
  slots: 20,
  labels: { zone: "a", gpu: "no" },
  handlers: {
    encode: async (input, { signal, log, progress, attempt, idempotencyKey }) => {
      log(`attempt ${attempt} of ${idempotencyKey}`);
      for (let part = 1; part <= input.parts; part += 1) {
        signal.throwIfAborted();
        progress(part / input.parts, `part ${part}`);
      }
      return input.parts;
    },
  },
});
worker.onState((state, cause) => console.log(cause === null ? state : `${state}: ${cause.message}`));

process.once("SIGTERM", async () => {
  await worker.stop({ graceMs: 30_000 });
  capstan.close();
});

const job = await capstan.jobs.submit({ name: "encode", handler: "encode", pool: "long", input: { parts: 10 } });
console.log(await job.result());
process.kill(process.pid, "SIGTERM");
