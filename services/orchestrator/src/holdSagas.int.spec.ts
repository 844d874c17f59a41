/** What waits of paused jobs is held back, and placed when they go on. */
import { openPool, uuidv7 } from "@capstan/postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestLog } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { ended, pausedOrResumed, started, submitted } from "./fakeFacts.ts";
import { holdSagas } from "./holdStore.ts";
import { sagaId } from "./runJob.ts";
import {
  askedAbout,
  openTestWorld,
  sagaOf,
  stageOf,
  type TestOrchestrator,
  type TestWorld,
} from "./startTestService.ts";

let world: TestWorld;
let orchestrator: TestOrchestrator;

beforeAll(async () => {
  world = await openTestWorld();
  orchestrator = await world.start();
});

afterAll(() => world.close());

const untilStage = (jobId: string, stage: string) =>
  eventually(async () => expect(await stageOf(orchestrator, jobId)).toBe(stage));

async function finish(jobId: string): Promise<void> {
  const id = sagaId(jobId, "main", 1);
  await world.facts.publish("execution", started(id), ended(id));
  await untilStage(jobId, "DONE");
}

test("what waits of a paused job is not placed before what came later, and is when the job goes on", async () => {
  const { facts, contexts } = world;
  contexts.slots.set("held", 1);
  const [runs, paused, later] = [uuidv7(), uuidv7(), uuidv7()];
  await facts.publish("job", submitted({ jobId: runs, provider: "held" }));
  await untilStage(runs, "RESERVED");
  await facts.publish("job", submitted({ jobId: paused, provider: "held" }));
  await eventually(async () => expect((await sagaOf(orchestrator, paused)).reason).toBe("REASON_NO_CAPACITY"));
  await facts.publish("job", pausedOrResumed("paused", paused, 2));
  await eventually(async () => expect((await sagaOf(orchestrator, paused)).reason).toBe("REASON_JOB_PAUSED"));
  await facts.publish("job", submitted({ jobId: later, provider: "held" }));
  await finish(runs);
  await untilStage(later, "RESERVED");
  await finish(later);
  expect(await stageOf(orchestrator, paused)).toBe("WAITING");
  const before = askedAbout(contexts, paused).length;
  await facts.publish("job", pausedOrResumed("resumed", paused, 3));
  await untilStage(paused, "RESERVED");
  expect(askedAbout(contexts, paused).slice(before)).toEqual(["reserve", "start"]);
  await finish(paused);
});

test("what was said last holds, also when what was said before comes again", async () => {
  const { facts, contexts, database } = world;
  contexts.slots.set("none", 0);
  const jobId = uuidv7();
  await facts.publish(
    "job",
    submitted({ jobId, provider: "none" }),
    pausedOrResumed("paused", jobId, 2),
    pausedOrResumed("resumed", jobId, 3),
  );
  await eventually(async () => expect((await sagaOf(orchestrator, jobId)).reason).toBe("REASON_NO_CAPACITY"));
  const pool = openPool({ url: database.urlOf("orchestrator"), schema: "orchestrator", max: 1, log: createTestLog() });
  const before = new Date(Date.now() - 60_000);
  expect(await holdSagas(pool, [{ jobId, isHeld: true, time: before }])).toEqual([]);
  expect((await sagaOf(orchestrator, jobId)).reason).toBe("REASON_NO_CAPACITY");
  await holdSagas(pool, [{ jobId, isHeld: true, time: new Date() }]);
  expect((await sagaOf(orchestrator, jobId)).reason).toBe("REASON_JOB_PAUSED");
  expect(await holdSagas(pool, [{ jobId, isHeld: false, time: new Date(Date.now() + 1) }])).toHaveLength(1);
  await pool.end();
});
