import { DomainError } from "@capstan/errors";
import { openPool, uuidv7 } from "@capstan/postgres";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readConsumers, withNats } from "../../../test/support/broker.ts";
import { createTestLog, queryOnce } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { cancelling, ended, ready, started, submitted } from "./fakeFacts.ts";
import { handleJobFacts } from "./handleFacts.ts";
import type { Contexts } from "./perform.ts";
import { unsetQueue } from "./queue.ts";
import { sagaId } from "./runJob.ts";
import { askedAbout, openTestWorld, stageOf, type TestOrchestrator, type TestWorld } from "./startTestService.ts";

let world: TestWorld;
let orchestrator: TestOrchestrator;

beforeAll(async () => {
  world = await openTestWorld();
  orchestrator = await world.start();
});

afterAll(() => world.close());

const idOf = (jobId: string) => sagaId(jobId, "main", 1);
const untilStage = (jobId: string, stage: string) =>
  eventually(async () => expect(await stageOf(orchestrator, jobId)).toBe(stage));

/** Everything on the streams has been handled. */
async function untilConsumed(): Promise<void> {
  await withNats(world.nats.url, (nats) =>
    eventually(async () => {
      const consumers = (await readConsumers(nats)).filter(({ name }) => name.includes("/orchestrator-"));
      expect(consumers.map(({ name }) => name)).toEqual([
        "CAPSTAN_EXECUTION/orchestrator-execution",
        "CAPSTAN_JOB/orchestrator-job",
      ]);
      for (const { delivered, lastPosition, pending, inHand } of consumers) {
        expect({ delivered, pending, inHand }).toEqual({ delivered: lastPosition, pending: 0, inHand: 0 });
      }
    }),
  );
}

test("facts that all come again change nothing", async () => {
  const { contexts, facts } = world;
  const [done, runs, cancelled, parked] = [uuidv7(), uuidv7(), uuidv7(), uuidv7()];
  contexts.onAnswer = (method, items) => {
    if (method !== "start" || !items.some(({ jobId }) => jobId === parked)) return;
    throw new DomainError({ code: "FAILED_PRECONDITION", reason: "NO_SUCH_KIND", message: "nobody drives this kind" });
  };
  await facts.publish("job", ...[done, runs, cancelled, parked].map((jobId) => submitted({ jobId })));
  for (const jobId of [done, runs, cancelled]) await untilStage(jobId, "RESERVED");
  await untilStage(parked, "PARKED");
  await facts.publish("execution", ...[done, runs, cancelled].map((jobId) => started(idOf(jobId))));
  await facts.publish("job", cancelling(cancelled));
  await untilStage(cancelled, "COMPENSATING");
  await facts.publish("execution", ended(idOf(done)), ended(idOf(cancelled), "cancelled"));
  await untilStage(done, "DONE");
  await untilStage(cancelled, "COMPENSATED");
  await untilStage(runs, "STARTED");
  await untilConsumed();

  const read = () => queryOnce(world.database.adminUrl, "select * from orchestrator.saga order by id");
  const before = await read();
  const askedBefore = contexts.asked.length;
  await withNats(world.nats.url, async (nats) => {
    const manager = await jetstreamManager(nats);
    for (const context of ["job", "execution"]) {
      await manager.consumers.delete(`CAPSTAN_${context.toUpperCase()}`, `orchestrator-${context}`);
    }
  });
  await untilConsumed();
  expect(await read()).toEqual(before);
  // What runs is told of once more, which the others answer as already so.
  const again = contexts.asked.slice(askedBefore);
  expect(again.filter(({ method }) => method !== "confirm" && method !== "report")).toEqual([]);
  expect(again.every(({ id }) => id === idOf(runs))).toBe(true);
});

async function listDeadLetters() {
  return (await orchestrator.sagas.listDeadLetters({ pageSize: 100, pageToken: "" })).deadLetters;
}

async function countUnresolved(id: string): Promise<number> {
  const rows = await queryOnce(
    world.database.adminUrl,
    "select from orchestrator.dead_letter where id = $1 and resolve_time is null",
    [id],
  );
  return rows.length;
}

test("a fact that cannot be read is set aside, holds up nothing, and is handled when it was mended and is replayed", async () => {
  const [broken, behind] = [uuidv7(), uuidv7()];
  const good = submitted({ jobId: broken });
  await world.facts.publish("job", { ...good, data: { ...good.data, jobId: "" } }, submitted({ jobId: behind }));
  await untilStage(behind, "RESERVED");
  const letter = await eventually(async () => {
    const found = (await listDeadLetters()).find(({ subject }) => subject.endsWith(broken));
    if (found === undefined) throw new Error("there is no such dead letter");
    return found;
  });
  expect(letter).toMatchObject({
    stream: "CAPSTAN_JOB",
    error: expect.stringContaining("capstan.job.v1.job.submitted cannot be read"),
  });

  // As long as it is what it was, it fails as it did.
  const ids = { deadLetterIds: [letter.id] };
  expect(await orchestrator.sagas.replayDeadLetters(ids)).toEqual({ resolvedIds: [] });
  expect(await countUnresolved(letter.id)).toBe(1);

  await queryOnce(world.database.adminUrl, "update orchestrator.dead_letter set data = $2 where id = $1", [
    letter.id,
    Buffer.from(JSON.stringify(good.data)),
  ]);
  expect(await orchestrator.sagas.replayDeadLetters(ids)).toEqual({ resolvedIds: [letter.id] });
  expect(await countUnresolved(letter.id)).toBe(0);
  await untilStage(broken, "RESERVED");
  expect(await orchestrator.sagas.replayDeadLetters(ids)).toEqual({ resolvedIds: [] });
});

test("what is no fact at all is set aside too", async () => {
  const subject = `capstan.v1.default.execution.execution.started.${uuidv7()}`;
  await withNats(world.nats.url, async (nats) => {
    await jetstream(nats).publish(subject, "not even JSON", { headers: headers() });
  });
  await eventually(async () => {
    expect(await listDeadLetters()).toContainEqual(expect.objectContaining({ subject, stream: "CAPSTAN_EXECUTION" }));
  });
});

test("a cancel that overtakes the fact it is about ends the attempt before it begins", async () => {
  const jobId = uuidv7();
  await world.facts.publish("job", cancelling(jobId, "READY"));
  await untilStage(jobId, "COMPENSATED");
  await world.facts.publish("job", submitted({ jobId }));
  await untilConsumed();
  expect(await stageOf(orchestrator, jobId)).toBe("COMPENSATED");
  expect(askedAbout(world.contexts, jobId)).toEqual(expect.arrayContaining(["report CANCELLED", "release"]));
  expect(askedAbout(world.contexts, jobId)).not.toContain("start");
});

async function stagesOf(jobId: string): Promise<Record<string, string>> {
  const rows = await queryOnce(world.database.adminUrl, "select step, stage from orchestrator.saga where job_id = $1", [
    jobId,
  ]);
  return Object.fromEntries(rows.map(({ step, stage }) => [step, stage]));
}

test("steps and items of one job that became READY in one fact, in several, or twice, each begin once", async () => {
  const jobId = uuidv7();
  const names = Array.from({ length: 600 }, (_, index) => (index % 2 === 0 ? `s${index}` : `each.${index}`));
  await world.facts.publish(
    "job",
    ready(jobId, 1, names.slice(0, 300)),
    ready(jobId, 2, names.slice(300)),
    ready(jobId, 3, names.slice(200, 400)),
  );
  await eventually(async () => {
    expect(await stagesOf(jobId)).toEqual(Object.fromEntries(names.map((name) => [name, "RESERVED"])));
  });
  const begun = world.contexts.asked.filter((asked) => asked.method === "start" && asked.jobId === jobId);
  expect(new Set(begun.map(({ id }) => id)).size).toBe(600);
  await world.facts.publish("job", { ...cancelling(jobId), sequence: 4 });
});

test("a cancel spares what runs only after it, whether its fact comes before, with it, or again", async () => {
  const jobId = uuidv7();
  const spared = ["undo", "undo-each"];
  await world.facts.publish("job", ready(jobId, 1, ["main", "undone", "undo"]));
  // One that still waits has nothing to undo, and ends at once.
  const placed = { main: "RESERVED", undone: "RESERVED", undo: "RESERVED" };
  await eventually(async () => expect(await stagesOf(jobId)).toEqual(placed));
  const cancel = { ...cancelling(jobId, "RUNNING", spared), sequence: 2 };
  await world.facts.publish("job", cancel, ready(jobId, 3, ["undo-each.0"]));
  await world.facts.publish("job", { ...cancel, id: uuidv7(), sequence: 4 });
  await untilConsumed();
  await eventually(async () => {
    expect(await stagesOf(jobId)).toEqual({
      main: "COMPENSATING",
      undone: "COMPENSATING",
      undo: "RESERVED",
      "undo-each.0": "RESERVED",
    });
  });
});

test("a saga that was not claimed is told of, also if its key has opened while it was written", async () => {
  const pool = openPool({ url: world.database.urlOf("orchestrator"), schema: "orchestrator", log: createTestLog() });
  const told: string[] = [];
  let isOpen = false;
  const placing = {
    isOpen() {
      const was = isOpen;
      isOpen = true;
      return was;
    },
    place: () => {},
    waiting: (sagas: readonly { readonly placementKey: string }[]) =>
      void told.push(...sagas.map(({ placementKey }) => placementKey)),
  };
  const deps = { pool, placing, queues: { of: unsetQueue }, contexts: {} as Contexts, onFreed: () => {} };
  const about = { context: "job", type: "", time: new Date(), stream: "", streamSequence: 1, deliveries: 1 };
  await handleJobFacts(deps, [{ ...submitted(), ...about }]);
  await pool.end();
  expect(told).toHaveLength(1);
});
