/** A key makes a job unique, however often it is submitted and by whom. */
import { connect, DomainError } from "@capstan/client";

const capstan = connect({ address: process.env["CAPSTAN_ADDRESS"] ?? "127.0.0.1:7100" });
const idempotencyKey = `invoice-${process.pid}-${Date.now()}`;

const first = await capstan.jobs.submit({ name: "invoice", command: ["true"], idempotencyKey });
const second = await capstan.jobs.submit({ name: "invoice", command: ["true"], idempotencyKey });
console.log(first.existed, second.existed, first.id === second.id);

await capstan.jobs.submit({ name: "invoice", command: ["false"], idempotencyKey }).catch((error) => {
  if (error instanceof DomainError) console.log(error.code, error.metadata["jobId"] === first.id);
});
capstan.close();
