/** Many jobs: all at once, where each is accepted or refused by itself, or as a stream that is read as there is room. */
import { connect } from "@capstan/client";

const capstan = connect({ address: process.env["CAPSTAN_ADDRESS"] ?? "127.0.0.1:7100" });
const worker = await capstan.worker({
  pool: "squares",
  slots: 100,
  handlers: { square: (input) => input * input },
});

const squareOf = (input: number) => ({ name: `square-${input}`, handler: "square", pool: "squares", input });

const outcomes = await capstan.jobs.submitMany([squareOf(2), { ...squareOf(3), priority: 1_000 }, squareOf(4)]);
for (const { job, refusal } of outcomes) {
  console.log(job === null ? refusal.message : await job.result());
}

async function* numbers() {
  for (let input = 0; input < 500; input += 1) yield squareOf(input);
}
const results: Promise<number>[] = [];
for await (const { job } of capstan.jobs.submitStream(numbers())) {
  if (job !== null) results.push(job.result<number>());
}
console.log((await Promise.all(results)).reduce((sum, square) => sum + square));

await worker.stop();
capstan.close();
