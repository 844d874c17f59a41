/** How things fail: a handler that throws, one that cannot be cured, and a call that is refused. */
import { connect, DomainError, JobFailed, NonRetryable } from "@capstan/client";

const capstan = connect({ address: process.env["CAPSTAN_ADDRESS"] ?? "127.0.0.1:7100" });
const worker = await capstan.worker({
  pool: "failing",
  slots: 10,
  handlers: {
    flaky: (_input, { attempt }) => {
      if (attempt < 3) throw new Error(`attempt ${attempt} has failed`);
      return `attempt ${attempt} has not`;
    },
    broken: () => {
      throw new NonRetryable("the picture is broken");
    },
  },
});
const retry = { maxAttempts: 3, initialBackoffMs: 10 };

const flaky = await capstan.jobs.submit({ name: "flaky", handler: "flaky", pool: "failing", retry });
console.log(await flaky.result());

try {
  const broken = await capstan.jobs.submit({ name: "broken", handler: "broken", pool: "failing", retry });
  await broken.result();
} catch (error) {
  if (!(error instanceof JobFailed)) throw error;
  console.log(error.state, error.reason, error.message);
}

try {
  await capstan.jobs.submit({ name: "", handler: "broken", priority: 1_000 });
} catch (error) {
  if (!(error instanceof DomainError)) throw error;
  console.log(error.code, error.reason);
  for (const { field, description } of error.fields) console.log(`${field}: ${description}`);
}

await worker.stop();
capstan.close();
