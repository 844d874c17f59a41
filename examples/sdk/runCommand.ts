/** A job that runs a program where there is a provider for it. With `image` it would run in a container. */
import { connect } from "@capstan/client";

const capstan = connect({ address: process.env["CAPSTAN_ADDRESS"] ?? "127.0.0.1:7100" });

const job = await capstan.jobs.submit({
  name: "add",
  script: `echo "CAPSTAN_OUTPUT=$((A + B))"`,
  env: { A: "40", B: "2" },
  runTimeoutMs: 60_000,
  retry: { maxAttempts: 3, initialBackoffMs: 500 },
});
const sum = await job.result<number>({ deadlineMs: 60_000 });
console.log(sum);
capstan.close();
