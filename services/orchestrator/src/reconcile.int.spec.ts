/** What the reconciler finds, and that it puts it right: each with its fact. */
import { uuidv7 } from "@capstan/postgres";
import { LoggedJobEvent } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readSubject } from "../../../test/support/broker.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { cancelling, ended, started, submitted } from "./fakeFacts.ts";
import { sagaId } from "./runJob.ts";
import { askedAbout, openTestWorld, stageOf, type TestOrchestrator, type TestWorld } from "./startTestService.ts";

let world: TestWorld;
let orchestrator: TestOrchestrator;

beforeAll(async () => {
  world = await openTestWorld();
  orchestrator = await world.start({ CAPSTAN_RECONCILE_INTERVAL_MS: "100" });
});

afterAll(() => world.close());

const idOf = (jobId: string) => sagaId(jobId, "main", 1);
const untilStage = (jobId: string, stage: string) =>
  eventually(async () => expect(await stageOf(orchestrator, jobId)).toBe(stage));

async function repairsOf(
  repair: string,
): Promise<readonly { readonly refs: readonly string[]; readonly actor: string }[]> {
  const messages = await readSubject(world.nats.url, "orchestrator", "capstan.v1.default.orchestrator.repair.made.*");
  const repairs = messages.map(({ data }) => data as { repair: string; refs: readonly string[]; actor: string });
  return repairs.filter((each) => each.repair === repair);
}

async function startOne(): Promise<string> {
  const jobId = uuidv7();
  await world.facts.publish("job", submitted({ jobId }));
  await eventually(() => expect(askedAbout(world.contexts, jobId)).toEqual(["reserve", "start"]));
  await world.facts.publish("execution", started(idOf(jobId)));
  await untilStage(jobId, "STARTED");
  return jobId;
}

test("a step that no saga knows gets one, and runs to its end like any other", async () => {
  const jobId = uuidv7();
  const { id, data } = submitted({ jobId });
  const event = {
    id,
    type: "capstan.job.v1.job.submitted",
    sequence: 1,
    time: new Date(),
    dataJson: JSON.stringify(data),
  };
  world.contexts.left.events = [LoggedJobEvent.fromPartial(event)];
  world.contexts.left.attempts = [{ jobId, step: "main", attempt: 1, tenant: "default" }];
  await eventually(() => expect(askedAbout(world.contexts, jobId)).toEqual(["reserve", "start"]));
  await world.facts.publish("execution", ended(idOf(jobId)));
  await untilStage(jobId, "DONE");
  await eventually(async () =>
    expect(await repairsOf("begin-saga")).toMatchObject([
      { refs: [`${idOf(jobId)} of job ${jobId}`], actor: "orchestrator" },
    ]),
  );
  expect(askedAbout(world.contexts, jobId).filter((item) => item === "start")).toHaveLength(1);
});

test("a saga whose job is over is stopped and settled", async () => {
  const [over, other] = [await startOne(), await startOne()];
  world.contexts.left.endedJobs = [over];
  await untilStage(over, "COMPENSATING");
  await world.facts.publish("execution", ended(idOf(over), "cancelled"));
  await untilStage(over, "COMPENSATED");
  expect(askedAbout(world.contexts, over)).toEqual(expect.arrayContaining(["stop", "report CANCELLED", "release"]));
  expect(await stageOf(orchestrator, other)).toBe("STARTED");
  await eventually(async () => expect(await repairsOf("end-saga")).toMatchObject([{ refs: [idOf(over)] }]));
});

test("a saga that goes on while its job is being cancelled is stopped, unless its step is spared", async () => {
  const { left } = world.contexts;
  const cancel = (jobId: string, spared: readonly string[]) => {
    const { id, data } = cancelling(jobId, "RUNNING", spared);
    const event = { id, type: "capstan.job.v1.job.cancelling", sequence: 1, time: new Date() };
    left.events = [LoggedJobEvent.fromPartial({ ...event, dataJson: JSON.stringify(data) })];
    left.cancellingJobs = [jobId];
  };
  const [jobId, sparing] = [await startOne(), await startOne()];
  let looks = 0;
  Object.defineProperty(left, "executions", {
    configurable: true,
    get: () => {
      looks += 1;
      return [];
    },
  });
  cancel(sparing, ["main"]);
  await eventually(() => expect(looks).toBeGreaterThan(4));
  expect(await stageOf(orchestrator, sparing)).toBe("STARTED");
  cancel(jobId, []);
  await untilStage(jobId, "COMPENSATING");
  await world.facts.publish("execution", ended(idOf(jobId), "cancelled"));
  await untilStage(jobId, "COMPENSATED");
  await eventually(async () => expect(await repairsOf("cancel-saga")).toMatchObject([{ refs: [idOf(jobId)] }]));
  Object.defineProperty(left, "executions", { configurable: true, writable: true, value: [] });
});

test("capacity and executions without a saga are given back and stopped, and those of a saga are left alone", async () => {
  const jobId = await startOne();
  const [reservation, execution] = [uuidv7(), uuidv7()];
  const lost = { executionId: execution, tenant: "default", jobId: uuidv7(), step: "main", attempt: 1 };
  world.contexts.left.reservations = [idOf(jobId), reservation];
  world.contexts.left.executions = [{ ...lost, executionId: idOf(jobId), jobId }, lost];
  const asked = (method: string) => world.contexts.asked.filter((item) => item.method === method).map(({ id }) => id);
  await eventually(() => expect(asked("release")).toContain(reservation));
  await eventually(() => expect(asked("stop")).toContain(execution));
  expect(asked("release")).not.toContain(idOf(jobId));
  expect(asked("stop")).not.toContain(idOf(jobId));
  world.contexts.left.reservations = [];
  world.contexts.left.executions = [];
  await eventually(async () => expect((await repairsOf("release-reservation"))[0]?.refs).toEqual([reservation]));
  await eventually(async () => expect((await repairsOf("stop-execution"))[0]?.refs).toEqual([execution]));
});

test("what is left on later pages is found as well, and beside a job whose facts cannot be read", async () => {
  const [jobId, bad] = [uuidv7(), uuidv7()];
  const held = [await startOne(), await startOne(), await startOne()].map(idOf);
  const lost = uuidv7();
  world.contexts.left.reservations = [...held, lost];
  const { id, data } = submitted({ jobId });
  const event = { id, type: "capstan.job.v1.job.submitted", sequence: 1, time: new Date() };
  world.contexts.left.events = [LoggedJobEvent.fromPartial({ ...event, dataJson: JSON.stringify(data) })];
  const attempt = { step: "main", attempt: 1, tenant: "default" };
  world.contexts.left.unreadableJobs = [bad];
  world.contexts.left.attempts = [bad, jobId].map((each) => ({ ...attempt, jobId: each }));
  await eventually(() => expect(askedAbout(world.contexts, jobId)).toEqual(["reserve", "start"]));
  const released = () => world.contexts.asked.filter(({ method }) => method === "release").map((item) => item.id);
  await eventually(() => expect(released()).toContain(lost));
  expect(released()).not.toEqual(expect.arrayContaining([held[0]]));
  world.contexts.left.reservations = [];
  world.contexts.left.attempts = [];
});

test("what was on its way when it was seen first is no repair", async () => {
  const jobId = uuidv7();
  const before = (await repairsOf("begin-saga")).length;
  let looks = 0;
  const attempts = [{ jobId, step: "main", attempt: 1, tenant: "default" }];
  Object.defineProperty(world.contexts.left, "attempts", {
    get: () => {
      looks += 1;
      if (looks === 1) void world.facts.publish("job", submitted({ jobId }));
      return looks === 1 ? attempts : [];
    },
  });
  await eventually(() => expect(looks).toBeGreaterThan(3));
  expect(await repairsOf("begin-saga")).toHaveLength(before);
});
