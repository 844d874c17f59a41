import { DomainError } from "@capstan/errors";
import { uuidv7 } from "@capstan/postgres";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readSubject } from "../../../test/support/broker.ts";
import { queryOnce } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { refusalOf } from "../../../test/support/jobs.ts";
import { cancelling, ended, started, submitted } from "./fakeFacts.ts";
import { sagaId } from "./runJob.ts";
import {
  askedAbout,
  openTestWorld,
  passWakeup,
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

beforeEach(async () => {
  world.contexts.onAnswer = () => {};
  for (const context of ["job", "provider"] as const) await world.contexts.comeBack(context);
});

const idOf = (jobId: string) => sagaId(jobId, "main", 1);
const untilStage = (jobId: string, stage: string) =>
  eventually(async () => expect(await stageOf(orchestrator, jobId)).toBe(stage));

/** A job whose attempt was asked to start. */
async function startOne(): Promise<string> {
  const jobId = uuidv7();
  await world.facts.publish("job", submitted({ jobId }));
  await eventually(() => expect(askedAbout(world.contexts, jobId)).toEqual(["reserve", "start"]));
  return jobId;
}

describe("while the job context is away", () => {
  test("an end is kept, its capacity given back at once, and the job told when it is there again", async () => {
    const jobId = await startOne();
    await world.facts.publish("execution", started(idOf(jobId)));
    await untilStage(jobId, "STARTED");
    await world.contexts.leave("job");
    await world.facts.publish("execution", ended(idOf(jobId)));
    await eventually(async () => expect((await sagaOf(orchestrator, jobId)).failures).toBeGreaterThan(0));
    expect(await stageOf(orchestrator, jobId)).toBe("SETTLING");
    expect(askedAbout(world.contexts, jobId)).toContain("release");
    await world.contexts.comeBack("job");
    await passWakeup(world, "SETTLING");
    await untilStage(jobId, "DONE");
    expect(askedAbout(world.contexts, jobId).filter((item) => item.startsWith("report"))).toEqual([
      "report STARTED",
      "report SUCCEEDED",
    ]);
  });

  test("a start that could not be told is told before its end", async () => {
    const jobId = await startOne();
    await world.contexts.leave("job");
    await world.facts.publish("execution", started(idOf(jobId)));
    await untilStage(jobId, "STARTED");
    await world.facts.publish("execution", ended(idOf(jobId)));
    await world.contexts.comeBack("job");
    await untilStage(jobId, "DONE");
    expect(askedAbout(world.contexts, jobId).filter((item) => item.startsWith("report"))).toEqual([
      "report STARTED",
      "report SUCCEEDED",
    ]);
  });
});

test("while the provider context is away jobs are told what began and ended, and capacity is settled later", async () => {
  const [jobId, other] = [await startOne(), await startOne()];
  await world.contexts.leave("provider");
  await world.facts.publish("execution", started(idOf(jobId)));
  await untilStage(jobId, "STARTED");
  await world.facts.publish("execution", started(idOf(other)), ended(idOf(other)));
  await eventually(() => expect(askedAbout(world.contexts, jobId)).toContain("report STARTED"));
  await eventually(() => expect(askedAbout(world.contexts, other)).toContain("report SUCCEEDED"));
  await untilStage(other, "SETTLING");

  await world.contexts.comeBack("provider");
  await passWakeup(world, "STARTED");
  await eventually(() => expect(askedAbout(world.contexts, jobId)).toContain("confirm"));
  await passWakeup(world, "SETTLING");
  await untilStage(other, "DONE");
  expect(askedAbout(world.contexts, other)).toContain("release");
});

/** A saga whose start is refused for good, which spoils nothing else that was started together with it. */
async function parkOne(): Promise<string> {
  const [jobId, neighbour] = [uuidv7(), uuidv7()];
  world.contexts.onAnswer = (method, items) => {
    if (method !== "start" || !items.some((item) => item.jobId === jobId)) return;
    throw new DomainError({ code: "FAILED_PRECONDITION", reason: "NO_SUCH_KIND", message: "nobody drives this kind" });
  };
  await world.facts.publish("job", submitted({ jobId }), submitted({ jobId: neighbour }));
  await untilStage(jobId, "PARKED");
  await untilStage(neighbour, "RESERVED");
  world.contexts.onAnswer = () => {};
  return jobId;
}

const operator = { actor: "kim@console", note: "its engine was replaced" };

/** What was told of a saga on its stream. */
async function factsOf(jobId: string): Promise<readonly string[]> {
  const messages = await readSubject(world.nats.url, "orchestrator", `capstan.v1.*.orchestrator.saga.*.${idOf(jobId)}`);
  return messages.map(({ subject }) => subject.split(".")[5] ?? "");
}

describe("a command that is refused for good", () => {
  test("parks its saga, with the reason and what was answered", async () => {
    const jobId = await parkOne();
    expect(await sagaOf(orchestrator, jobId)).toMatchObject({
      reason: "REASON_COMMAND_REFUSED",
      message: "nobody drives this kind",
      wakeupTime: undefined,
    });
    expect(askedAbout(world.contexts, jobId).at(-1)).toBe("report WAITING");
    await eventually(async () => expect(await factsOf(jobId)).toEqual(["parked"]));
  });

  test("is sent again when an operator retries it", async () => {
    const jobId = await parkOne();
    await orchestrator.sagas.retrySaga({ sagaId: idOf(jobId), ...operator });
    expect(askedAbout(world.contexts, jobId).at(-1)).toBe("start");
    await world.facts.publish("execution", started(idOf(jobId)), ended(idOf(jobId)));
    await untilStage(jobId, "DONE");
    await eventually(async () => expect(await factsOf(jobId)).toEqual(["parked", "retried"]));
  });

  test.each([
    ["skipSaga", "report SKIPPED", ["parked", "skipped", "compensated"]],
    ["compensateSaga", "report FAILED", ["parked", "compensating", "compensated"]],
  ] as const)("is undone by %s: stopped, told of, given back", async (method, report, facts) => {
    const jobId = await parkOne();
    await orchestrator.sagas[method]({ sagaId: idOf(jobId), ...operator });
    expect(await stageOf(orchestrator, jobId)).toBe("COMPENSATING");
    expect(askedAbout(world.contexts, jobId).at(-1)).toBe("stop");
    await world.facts.publish("execution", ended(idOf(jobId), "cancelled"));
    await untilStage(jobId, "COMPENSATED");
    expect(askedAbout(world.contexts, jobId)).toEqual(expect.arrayContaining([report, "release"]));
    await eventually(async () => expect(await factsOf(jobId)).toEqual(facts));
  });

  test("leaves its saga to a cancel too", async () => {
    const jobId = await parkOne();
    await world.facts.publish("job", cancelling(jobId));
    await untilStage(jobId, "COMPENSATING");
    await world.facts.publish("execution", ended(idOf(jobId), "cancelled"));
    await untilStage(jobId, "COMPENSATED");
    expect(askedAbout(world.contexts, jobId)).toContain("report CANCELLED");
  });

  test("and an execution that ends all the same is settled", async () => {
    const jobId = await parkOne();
    await world.facts.publish("execution", ended(idOf(jobId)));
    await untilStage(jobId, "DONE");
    expect(askedAbout(world.contexts, jobId)).toContain("report SUCCEEDED");
  });
});

test("an operator moves only what is parked, and two of them move it once", async () => {
  const running = await startOne();
  for (const method of ["retrySaga", "skipSaga", "compensateSaga"] as const) {
    const refusal = await refusalOf(orchestrator.sagas[method]({ sagaId: idOf(running), ...operator }));
    expect(refusal).toMatchObject({ code: "FAILED_PRECONDITION", reason: "SAGA_IS_NOT_PARKED" });
  }
  const parked = await parkOne();
  const moves = Array.from({ length: 8 }, () => orchestrator.sagas.retrySaga({ sagaId: idOf(parked), ...operator }));
  const outcomes = await Promise.allSettled(moves);
  expect(outcomes.some(({ status }) => status === "fulfilled")).toBe(true);
  expect(await stageOf(orchestrator, parked)).toBe("RESERVED");
  await eventually(async () => expect(await factsOf(parked)).toEqual(["parked", "retried"]));
});

test("a page of large facts is cut so that it fits a message, and the next goes on where it ended", async () => {
  const jobId = await startOne();
  await queryOnce(
    world.database.adminUrl,
    `insert into orchestrator.event (aggregate_id, sequence, id, tenant, noun, event, correlation_id, causation_id, data)
     select $1, n, gen_random_uuid(), 'default', 'saga', 'waiting', $2, '',
            json_build_object('saga', json_build_object('message', repeat('x', 400000)))
       from generate_series(1001, 1012) n`,
    [idOf(jobId), jobId],
  );
  const pages: number[][] = [];
  for (let pageToken = ""; pages.length === 0 || pageToken !== ""; ) {
    const answer = await orchestrator.sagas.listSagaEvents({ jobId, pageSize: 1_000, pageToken });
    expect(answer.events.every(({ data }) => data?.saga?.message.length === 400_000)).toBe(true);
    pages.push(answer.events.map(({ sequence }) => sequence));
    pageToken = answer.nextPageToken;
  }
  expect(pages.map((page) => page.length)).toEqual([5, 5, 2]);
  expect(pages.flat()).toEqual(Array.from({ length: 12 }, (_, at) => 1_001 + at));
});

describe("by force", () => {
  test("one that is being stopped settles without its end, and a fact says who did it, when and why", async () => {
    const jobId = await startOne();
    await world.facts.publish("execution", started(idOf(jobId)));
    await untilStage(jobId, "STARTED");
    await world.facts.publish("job", cancelling(jobId));
    await untilStage(jobId, "COMPENSATING");
    await orchestrator.sagas.forceSaga({ sagaId: idOf(jobId), ...operator });
    await untilStage(jobId, "COMPENSATED");
    expect(askedAbout(world.contexts, jobId)).toEqual(expect.arrayContaining(["report CANCELLED", "release"]));
    await eventually(async () => expect(await factsOf(jobId)).toEqual(["forced", "compensated"]));
    const subject = `capstan.v1.*.orchestrator.saga.forced.${idOf(jobId)}`;
    const [fact] = await readSubject(world.nats.url, "orchestrator", subject);
    expect(fact?.data).toMatchObject({ saga: { jobId, step: "main" }, ...operator });
    expect(Date.parse(fact?.headers["ce-time"] ?? "")).toBeGreaterThan(Date.now() - 60_000);
  });

  test("nobody ends a saga without saying who does and why, nor one that waits", async () => {
    const jobId = await startOne();
    const bad = { sagaId: idOf(jobId), actor: "", note: `${"n".repeat(500)}\n` };
    expect(await refusalOf(orchestrator.sagas.forceSaga(bad))).toMatchObject({
      code: "INVALID_ARGUMENT",
      fields: [
        { field: "actor", description: "is required" },
        { field: "note", description: "is 501 characters; the limit is 500" },
        { field: "note", description: "must not contain control characters" },
      ],
    });
    world.contexts.slots.set("full", 0);
    const waiting = uuidv7();
    await world.facts.publish("job", submitted({ jobId: waiting, provider: "full" }));
    await untilStage(waiting, "WAITING");
    expect(await refusalOf(orchestrator.sagas.forceSaga({ sagaId: idOf(waiting), ...operator }))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "SAGA_CANNOT_BE_FORCED",
    });
  });
});

describe("a cancel", () => {
  test("of what runs stops it, and is told when the end is confirmed", async () => {
    const jobId = await startOne();
    await world.facts.publish("execution", started(idOf(jobId)));
    await untilStage(jobId, "STARTED");
    await world.facts.publish("job", cancelling(jobId));
    await untilStage(jobId, "COMPENSATING");
    expect(askedAbout(world.contexts, jobId)).not.toContain("report CANCELLED");
    await world.facts.publish("execution", ended(idOf(jobId), "cancelled"));
    await untilStage(jobId, "COMPENSATED");
    expect(askedAbout(world.contexts, jobId)).toEqual(expect.arrayContaining(["stop", "report CANCELLED", "release"]));
  });

  test("of what waits for a place is told at once", async () => {
    world.contexts.slots.set("none", 0);
    const jobId = uuidv7();
    await world.facts.publish("job", submitted({ jobId, provider: "none" }));
    await untilStage(jobId, "WAITING");
    await world.facts.publish("job", cancelling(jobId));
    await untilStage(jobId, "COMPENSATED");
    expect(askedAbout(world.contexts, jobId)).toEqual(expect.arrayContaining(["report CANCELLED", "release"]));
    expect(askedAbout(world.contexts, jobId)).not.toContain("start");
  });

  test("that races the placement ends with nothing running and nothing held", async () => {
    const jobId = uuidv7();
    const [reserving, cancelled] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    world.contexts.onAnswer = (method, items) => {
      if (method !== "reserve" || !items.some((item) => item.jobId === jobId)) return;
      reserving.resolve();
      return cancelled.promise;
    };
    await world.facts.publish("job", submitted({ jobId }));
    await reserving.promise;
    await world.facts.publish("job", cancelling(jobId));
    await untilStage(jobId, "COMPENSATED");
    cancelled.resolve();
    // What is placed after it shows that the pass with the late answer is over.
    await startOne();
    expect(await stageOf(orchestrator, jobId)).toBe("COMPENSATED");
    expect(askedAbout(world.contexts, jobId)).not.toContain("start");
    expect(askedAbout(world.contexts, jobId)).toContain("release");
  });

  test("is told to nobody while the attempt may still be placed, or it would run after its end was told", async () => {
    const jobId = uuidv7();
    world.contexts.onAnswer = async (method, items) => {
      if (!items.some((item) => item.jobId === jobId || item.id === idOf(jobId))) return;
      if (method === "reserve") {
        await world.facts.publish("job", cancelling(jobId));
        await eventually(() => expect(askedAbout(world.contexts, jobId)).toContain("report CANCELLED"));
      }
      // The reservation is answered now, and its answer is saved before this one.
      if (method === "report")
        await eventually(async () => expect(await stageOf(orchestrator, jobId)).not.toBe("WAITING"));
    };
    await world.facts.publish("job", submitted({ jobId }));
    await untilStage(jobId, "COMPENSATED");
    expect(askedAbout(world.contexts, jobId)).not.toContain("start");
  });
});
