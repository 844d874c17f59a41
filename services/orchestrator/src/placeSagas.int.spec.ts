import { uuidv7 } from "@capstan/postgres";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { ended, started, submitted } from "./fakeFacts.ts";
import { sagaId } from "./runJob.ts";
import {
  askedAbout,
  openTestWorld,
  passWakeup,
  sagaOf,
  stageOf,
  startedJobs,
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

beforeEach(async () => {
  world.contexts.onAnswer = () => {};
  await world.contexts.comeBack("provider");
});

/** Resolves when the next call of this kind has done its work; that one is never answered. */
function swallowNext(method: "reserve" | "start"): Promise<void> {
  const { promise: worked, resolve } = Promise.withResolvers<void>();
  world.contexts.onAnswer = (called) => {
    if (called !== method) return;
    world.contexts.onAnswer = () => {};
    resolve();
    return new Promise(() => {});
  };
  return worked;
}

async function finish(jobId: string): Promise<void> {
  const id = sagaId(jobId, "main", 1);
  await world.facts.publish("execution", started(id), ended(id));
  await eventually(async () => expect(await stageOf(orchestrator, jobId)).toBe("DONE"));
}

test("an attempt is placed, started, told of and given back", async () => {
  const jobId = uuidv7();
  const id = sagaId(jobId, "main", 1);
  await world.facts.publish("job", submitted({ jobId }));
  await eventually(() => expect(askedAbout(world.contexts, jobId)).toEqual(["reserve", "start"]));
  await world.facts.publish("execution", started(id));
  await eventually(async () => expect(await stageOf(orchestrator, jobId)).toBe("STARTED"));
  await world.facts.publish("execution", ended(id));
  await eventually(async () => expect(await stageOf(orchestrator, jobId)).toBe("DONE"));
  const [reserve, start, ...rest] = askedAbout(world.contexts, jobId);
  expect([reserve, start, ...rest.slice(0, 2).sort(), ...rest.slice(2).sort()]).toEqual([
    ...["reserve", "start"],
    ...["confirm", "report STARTED"],
    ...["release", "report SUCCEEDED"],
  ]);
});

test("after a crash between holding capacity and saving that, it is asked for again when the claim has run out", async () => {
  const jobId = uuidv7();
  const held = swallowNext("reserve");
  await world.facts.publish("job", submitted({ jobId }));
  await held;
  await orchestrator.end("SIGKILL");
  orchestrator = await world.start();
  expect(await stageOf(orchestrator, jobId)).toBe("WAITING");
  await passWakeup(world, "WAITING");
  await eventually(() => expect(askedAbout(world.contexts, jobId)).toEqual(["reserve", "reserve", "start"]));
  await finish(jobId);
});

test("after a crash between saving that capacity is held and starting, the start is sent again", async () => {
  const jobId = uuidv7();
  const asked = swallowNext("start");
  await world.facts.publish("job", submitted({ jobId }));
  await asked;
  await orchestrator.end("SIGKILL");
  orchestrator = await world.start();
  expect(await stageOf(orchestrator, jobId)).toBe("RESERVED");
  await passWakeup(world, "RESERVED");
  await eventually(() => expect(askedAbout(world.contexts, jobId)).toEqual(["reserve", "start", "start"]));
  await finish(jobId);
});

test("while the provider context is away sagas wait, and are placed when it is back", async () => {
  const jobId = uuidv7();
  await world.contexts.leave("provider");
  await world.facts.publish("job", submitted({ jobId }));
  await eventually(async () => expect((await sagaOf(orchestrator, jobId)).failures).toBeGreaterThan(0));
  expect(await stageOf(orchestrator, jobId)).toBe("WAITING");
  await world.contexts.comeBack("provider");
  await eventually(() => expect(askedAbout(world.contexts, jobId)).toContain("start"));
  await finish(jobId);
});

test("a long queue before a full provider holds up neither another provider nor one that becomes free", async () => {
  const { contexts, facts } = world;
  contexts.slots.set("full", 0).set("busy", 1);
  const holder = uuidv7();
  await facts.publish("job", submitted({ jobId: holder, provider: "busy" }));
  await eventually(() => expect(askedAbout(contexts, holder)).toContain("start"));
  const queue = Array.from({ length: 600 }, () => submitted({ provider: "full", priority: 50 }));
  const behind = uuidv7();
  const others = Array.from({ length: 40 }, () => uuidv7());
  await facts.publish("job", ...queue, submitted({ jobId: behind, provider: "busy" }));
  await eventually(async () => {
    expect(await sagaOf(orchestrator, behind)).toMatchObject({ reason: "REASON_NO_CAPACITY", message: "busy is full" });
  });

  await facts.publish("job", ...others.map((jobId) => submitted({ jobId, provider: "free", priority: -50 })));
  await eventually(() => expect(startedJobs(contexts)).toEqual(expect.arrayContaining(others)));
  await finish(holder);
  await eventually(() => expect(askedAbout(contexts, behind)).toContain("start"));
  expect(queue.filter(({ aggregateId }) => startedJobs(contexts).includes(aggregateId))).toEqual([]);

  contexts.slots.delete("full");
  const queued = queue.map(({ aggregateId }) => aggregateId);
  await eventually(() => expect(startedJobs(contexts)).toEqual(expect.arrayContaining(queued)));
});

test("of what waits for one place the most urgent comes first, and of the same urgency the oldest", async () => {
  const { contexts, facts } = world;
  contexts.slots.set("narrow", 1);
  const holder = uuidv7();
  await facts.publish("job", submitted({ jobId: holder, provider: "narrow" }));
  await eventually(() => expect(askedAbout(contexts, holder)).toContain("start"));
  const waiting = [0, 10, -10, 10, 0].map((priority) => ({ jobId: uuidv7(), priority, provider: "narrow" }));
  await facts.publish("job", ...waiting.map(submitted));
  for (const { jobId } of waiting) {
    await eventually(async () => expect((await sagaOf(orchestrator, jobId)).message).toBe("narrow is full"));
  }
  const order = waiting.toSorted((a, b) => b.priority - a.priority).map(({ jobId }) => jobId);
  for (const [index, jobId] of [holder, ...order].entries()) {
    await eventually(() =>
      expect(startedJobs(contexts).filter((id) => order.includes(id))).toEqual(order.slice(0, index)),
    );
    await finish(jobId);
  }
});

test("what becomes free goes to the most urgent, although a long queue with another key waits for it too", async () => {
  const { contexts, facts } = world;
  contexts.slots.set("shared", 1);
  const holder = uuidv7();
  await facts.publish("job", submitted({ jobId: holder, provider: "shared" }));
  await eventually(() => expect(askedAbout(contexts, holder)).toContain("start"));
  const urgent = { jobId: uuidv7(), priority: 10, provider: "shared", memoryMib: 1 };
  const queue = Array.from({ length: 20 }, () => ({ jobId: uuidv7(), provider: "shared" }));
  await facts.publish("job", ...queue.map(submitted), submitted(urgent));
  // Of a long queue only the first are asked for and told why they wait; the others stand behind them as QUEUED.
  for (const { jobId } of queue)
    await eventually(async () => expect(await stageOf(orchestrator, jobId)).toBe("WAITING"));
  for (const jobId of [queue[0]?.jobId ?? "", urgent.jobId]) {
    await eventually(async () => expect((await sagaOf(orchestrator, jobId)).message).toBe("shared is full"));
  }
  await finish(holder);
  const jobIds = [...queue, urgent].map(({ jobId }) => jobId);
  await eventually(() => expect(startedJobs(contexts).filter((id) => jobIds.includes(id))).not.toEqual([]));
  expect(startedJobs(contexts).filter((id) => jobIds.includes(id))).toEqual([urgent.jobId]);
});

test("two orchestrators on one database place and start each saga once", async () => {
  const { contexts, facts } = world;
  const other = await world.start();
  const jobs = Array.from({ length: 400 }, () => uuidv7());
  for (let from = 0; from < jobs.length; from += 20) {
    await facts.publish("job", ...jobs.slice(from, from + 20).map((jobId) => submitted({ jobId })));
  }
  await eventually(() => expect(startedJobs(contexts)).toEqual(expect.arrayContaining(jobs)));
  const ends = jobs.map((jobId) => sagaId(jobId, "main", 1)).flatMap((id) => [started(id), ended(id)]);
  await facts.publish("execution", ...ends);
  for (const jobId of jobs) await eventually(async () => expect(await stageOf(other, jobId)).toBe("DONE"));
  for (const jobId of jobs) {
    const asked = askedAbout(contexts, jobId);
    expect(asked.filter((item) => item === "reserve" || item === "start")).toEqual(["reserve", "start"]);
  }
  await other.end("SIGTERM");
});
