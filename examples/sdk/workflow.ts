/** A workflow: a list is mapped side by side and reduced, by handlers of one worker. Its result has the type that is asked for. */
import { connect } from "@capstan/client";

const capstan = connect({ address: process.env["CAPSTAN_ADDRESS"] ?? "127.0.0.1:7100" });
const worker = await capstan.worker({
  pool: "words",
  slots: 10,
  handlers: {
    "words.count": (text: string) => text.split(" ").length,
    "words.sum": ({ counts, least }: { counts: number[]; least: number }) => {
      const sum = counts.reduce((left, right) => left + right);
      return { sum, isLong: sum >= least };
    },
  },
});

const job = await capstan.jobs.submit({
  spec: {
    name: "count-words",
    input: { lines: ["the quick brown fox", "jumps over", "the lazy dog"], least: 5 },
    steps: [
      {
        name: "count",
        handler: "words.count",
        forEach: { expression: "input.lines", maxParallel: 8 },
        input: "${{ item }}",
      },
      {
        name: "sum",
        dependsOn: ["count"],
        handler: "words.sum",
        input: { counts: "${{ steps.count.result }}", least: "${{ input.least }}" },
      },
    ],
  },
});
for await (const { data, type } of job.events()) {
  if (type === "job.succeeded") console.log(data.steps.map(({ name }) => name).at(-1));
}
const { sum, isLong } = await job.result<{ sum: number; isLong: boolean }>();
console.log(sum, isLong);

await worker.stop();
capstan.close();
