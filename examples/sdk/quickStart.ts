/** A worker and a job for it, in one program. They may as well be two, on two machines. */
import { connect } from "@capstan/client";

const capstan = connect({ address: process.env["CAPSTAN_ADDRESS"] ?? "127.0.0.1:7100" });

const worker = await capstan.worker({
  pool: "media",
  slots: 50,
  handlers: {
    resize: async (input, { log }) => {
      log(`resizing ${input.url}`);
      return { width: 100 };
    },
  },
});

const job = await capstan.jobs.submit({ name: "resize", handler: "resize", pool: "media", input: { url: "a.png" } });
console.log(await job.result());

await worker.stop();
capstan.close();
