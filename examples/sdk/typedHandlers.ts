/** The types of the handlers reach those who submit: a wrong input is an error of the compiler, a result has its type. */
import { connect, defineHandlers } from "@capstan/client";

const handlers = defineHandlers({
  "typed.resize": async ({ url, width }: { url: string; width: number }) => ({ url: `${width}/${url}`, width }),
  "typed.count": (words: string[]) => words.length,
});

const capstan = connect<typeof handlers>({ address: process.env["CAPSTAN_ADDRESS"] ?? "127.0.0.1:7100" });
const worker = await capstan.worker({ pool: "typed", slots: 4, handlers });

const resize = await capstan.jobs.submit({
  name: "resize",
  handler: "typed.resize",
  input: { url: "a.png", width: 200 },
});
const { url } = await resize.result();
const count = await capstan.jobs.submit({ name: "count", handler: "typed.count", input: ["one", "two"] });
const words: number = await count.result();
console.log(url, words);

await worker.stop();
capstan.close();
