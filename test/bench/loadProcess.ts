/**
 * The process that submits and runs handlers, apart from the bench so that its CPU is counted apart. It is given the name of a
 * system and where that is, and then does what it is told over IPC, one order after the other. Every handled job is told of.
 */
import type { Order, Report } from "./load.ts";
import { openCapstan } from "./systems/capstan.ts";
import { openGraphileWorker } from "./systems/graphileWorker.ts";
import { openPgBoss } from "./systems/pgBoss.ts";
import { anInput, type Input, type System, type SystemName } from "./systems/system.ts";

const opens: Record<SystemName, (where: string) => Promise<System>> = {
  capstan: openCapstan,
  graphileWorker: openGraphileWorker,
  pgBoss: (where) => openPgBoss(where, true),
  pgBossPolling: (where) => openPgBoss(where, false),
};

const [name = "", where = ""] = process.argv.slice(2);
const system = await opens[name as SystemName](where);
const report = (message: Report) => process.send?.(message);

let worker: { stop(): Promise<void> } | null = null;
let handled = 0;
let latencies: number[] | null = null;

function handle({ submitMs }: Input): void {
  latencies?.push(performance.now() - submitMs);
  handled += 1;
  if (handled === 1) setTimeout(tell, 10);
}

/** Several in one message: an IPC message costs more than a handler that does nothing. */
function tell(): void {
  report({ handled });
  handled = 0;
}

async function inLanes(lanes: number, count: number, atMost: number, one: (size: number) => Promise<void>) {
  let left = count;
  const lane = async () => {
    while (left > 0) {
      const size = Math.min(left, atMost);
      left -= size;
      await one(size);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

const submits = {
  batches: (count: number) =>
    inLanes(2, count, 1_000, (size) => system.submitBatch(Array.from({ length: size }, anInput))),
  singly: (count: number) => inLanes(64, count, 1, () => system.submit(anInput())),
  unary: (count: number) => inLanes(64, count, 1, async () => system.submitUnary?.(anInput())),
};

/** At a steady rate, whatever becomes of those before. Answers when all that were submitted have started. */
async function measureLatencies(perSecond: number, seconds: number): Promise<readonly number[]> {
  const values: number[] = [];
  latencies = values;
  const count = perSecond * seconds;
  const submitAt = (ms: number) => new Promise((due) => setTimeout(due, ms)).then(() => system.submit(anInput()));
  await Promise.all(Array.from({ length: count }, (_, n) => submitAt((n * 1_000) / perSecond)));
  for (let waited = 0; values.length < count; waited += 20) {
    if (waited > 30_000) throw new Error(`${values.length} of ${count} had started 30 s after the last was submitted`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  latencies = null;
  return values;
}

async function obey(order: Order): Promise<readonly number[]> {
  if (order.do === "submit") await submits[order.how](order.count);
  if (order.do === "work") worker = await system.work(order.slots, handle);
  if (order.do === "rest" || order.do === "end") {
    await worker?.stop();
    worker = null;
  }
  if (order.do === "end") await system.close();
  return order.do === "latency" ? measureLatencies(order.perSecond, order.seconds) : [];
}

process.on("message", (order: Order) => {
  obey(order).then(
    (values) => {
      report({ done: order.do, values });
      if (order.do === "end") process.disconnect();
    },
    (error: unknown) => report({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.on("disconnect", () => process.exit());
report({ done: "open", values: [] });
