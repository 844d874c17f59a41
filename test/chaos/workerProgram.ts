/**
 * A user's worker: `node workerProgram.ts <pool> <slots> <ledger> <address>...`. Its handler writes to the ledger, works for a while and
 * gives back what it was given, or fails as it was told. It ends in order on SIGTERM, and at once when its standard input ends.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type HandlerContext } from "@capstan/client";
import { openLedger } from "./ledger.ts";

export interface Work {
  readonly key: string;
  readonly ms: number;
  /** Attempts up to this one fail. */
  readonly failures: number;
}

const [pool = "", slots = "1", ledgerPath = "", ...addresses] = process.argv.slice(2);
const ledger = openLedger(ledgerPath);

async function work({ key, ms, failures }: Work, { executionId, jobId, attempt, signal }: HandlerContext) {
  const say = (event: "begin" | "end") =>
    ledger.write({ event, executionId, jobId, attempt, timeMs: Date.now(), by: "handler" });
  say("begin");
  await sleep(ms, undefined, { signal });
  if (attempt <= failures) throw new Error("told to fail");
  say("end");
  return { key };
}

const capstan = connect({ address: addresses[0] ?? "", addresses: { executions: addresses } });
process.stdin.resume().on("end", () => process.exit());
const worker = await capstan.worker({ pool, slots: Number(slots), handlers: { work } });
process.stdout.write("connected\n");
process.on("SIGTERM", async () => {
  await worker.stop({ graceMs: 5_000 });
  capstan.close();
  process.exit(0);
});
