/** The program of workerProcess.ts: `node workerProgram.ts <address> <pool>`. It ends when its standard input does. */
import { connect, type HandlerContext } from "@capstan/client";

const [address = "", pool = ""] = process.argv.slice(2);
process.stdin.resume().on("end", () => process.exit());
const hold = (_input: unknown, { jobId }: HandlerContext) => {
  process.stdout.write(`${jobId}\n`);
  return new Promise<never>(() => {});
};
await connect({ address }).worker({ pool, slots: 1, handlers: { hold } });
