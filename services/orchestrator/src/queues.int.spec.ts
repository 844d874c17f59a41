/** What queues hold back, with two orchestrators at once. */
import { uuidv7 } from "@capstan/postgres";
import { QueueSettings } from "@capstan/proto/capstan/orchestrator/v1/queue.ts";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readSubject } from "../../../test/support/broker.ts";
import { queryOnce } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { refusalOf } from "../../../test/support/jobs.ts";
import { ended, started, submitted } from "./fakeFacts.ts";
import { sagaId } from "./runJob.ts";
import {
  askedAbout,
  openTestWorld,
  sagaOf,
  stageOf,
  startedJobs,
  type TestOrchestrator,
  type TestWorld,
} from "./startTestService.ts";

let world: TestWorld;
let orchestrator: TestOrchestrator;
let other: TestOrchestrator;

beforeAll(async () => {
  world = await openTestWorld();
  [orchestrator, other] = await Promise.all([world.start(), world.start()]);
});

afterAll(() => world.close());

beforeEach(() => {
  world.contexts.onAnswer = () => {};
});

const idOf = (jobId: string) => sagaId(jobId, "main", 1);
const set = (queue: string, settings: Partial<QueueSettings>) =>
  orchestrator.queues.setQueue({ queue, settings: QueueSettings.fromPartial(settings), etag: "" });
const begun = (jobId: string) => startedJobs(world.contexts).includes(jobId);
const reasonOf = async (jobId: string) => (await sagaOf(orchestrator, jobId)).reason.slice("REASON_".length);

/** Submits jobs to a queue; answers with their ids when all have a saga. */
async function submit(count: number, job: Parameters<typeof submitted>[0]): Promise<readonly string[]> {
  const jobIds = Array.from({ length: count }, () => uuidv7());
  await world.facts.publish("job", ...jobIds.map((jobId) => submitted({ ...job, jobId })));
  for (const jobId of jobIds) await eventually(() => stageOf(orchestrator, jobId));
  return jobIds;
}

async function finish(jobId: string): Promise<void> {
  await world.facts.publish("execution", started(idOf(jobId)), ended(idOf(jobId)));
  await eventually(async () => expect(await stageOf(orchestrator, jobId)).toBe("DONE"));
}

/** The settings are there for both. One that has not heard of them yet may go on by the old ones for moments. */
async function untilKnown(queue: string): Promise<void> {
  await eventually(async () => expect((await other.queues.getQueue({ queue })).queue?.queue?.etag).not.toBe(""));
}

describe("a queue", () => {
  test("that is paused begins nothing, says so, and goes on when it is resumed", async () => {
    await orchestrator.queues.pauseQueue({ queue: "paused", message: "upgrade" });
    let jobId = "";
    await eventually(async () => {
      // A replica that has not heard of the pause yet may still begin one.
      [jobId = ""] = await submit(1, { queue: "paused" });
      await eventually(async () => expect(["QUEUE_PAUSED", "UNSPECIFIED"]).toContain(await reasonOf(jobId)));
      expect(await sagaOf(orchestrator, jobId)).toMatchObject({
        reason: "REASON_QUEUE_PAUSED",
        message: "queue paused is paused: upgrade",
      });
    });
    expect(begun(jobId)).toBe(false);
    await eventually(async () => {
      const messages = await readSubject(
        world.nats.url,
        "orchestrator",
        `capstan.v1.*.orchestrator.saga.*.${idOf(jobId)}`,
      );
      expect(messages.map(({ subject }) => subject.split(".")[5])).toEqual(["waiting"]);
    });
    await eventually(() => expect(askedAbout(world.contexts, jobId)).toEqual(["report WAITING"]));
    await other.queues.resumeQueue({ queue: "paused" });
    await eventually(() => expect(begun(jobId)).toBe(true));
  });

  test("with a limit runs no more than that, the next when one has ended, and says why the others wait", async () => {
    await set("narrow", { maxRunning: 2 });
    await untilKnown("narrow");
    const jobIds = await submit(5, { queue: "narrow" });
    await eventually(() => expect(jobIds.filter(begun)).toHaveLength(2));
    const waiting = jobIds.filter((jobId) => !begun(jobId));
    for (const jobId of waiting) await eventually(async () => expect(await reasonOf(jobId)).toBe("QUEUE_LIMIT"));
    expect(jobIds.filter(begun)).toHaveLength(2);
    const done = new Set<string>();
    while (done.size < 5) {
      const [jobId = ""] = jobIds.filter((id) => begun(id) && !done.has(id));
      await finish(jobId);
      done.add(jobId);
      await eventually(() => expect(jobIds.filter(begun)).toHaveLength(Math.min(5, 2 + done.size)));
    }
  });

  test("with a limit per key runs so many of each, and all without a key", async () => {
    await set("keyed", { maxRunningPerKey: 1 });
    await untilKnown("keyed");
    const [a, b, free] = await Promise.all([
      submit(3, { queue: "keyed", key: "a" }),
      submit(2, { queue: "keyed", key: "b" }),
      submit(3, { queue: "keyed" }),
    ]);
    await eventually(() => expect([a, b, free].map((ids) => ids.filter(begun).length)).toEqual([1, 1, 3]));
    const waiting = a.find((jobId) => !begun(jobId)) ?? "";
    await eventually(async () => expect(await reasonOf(waiting)).toBe("KEY_LIMIT"));
    await finish(a.find(begun) ?? "");
    await eventually(() => expect(a.filter(begun)).toHaveLength(2));
  });

  test("with a rate begins no more than that in a period", async () => {
    await set("rated", { rate: { count: 2, period: { seconds: 1, nanos: 0 } } });
    await untilKnown("rated");
    const times: number[] = [];
    world.contexts.onAnswer = (method, items) => {
      if (method === "reserve")
        times.push(...items.filter(({ jobId }) => jobIds.includes(jobId)).map(() => performance.now()));
    };
    const jobIds: string[] = Array.from({ length: 6 }, () => uuidv7());
    await world.facts.publish("job", ...jobIds.map((jobId) => submitted({ jobId, queue: "rated" })));
    await eventually(async () => expect(await reasonOf(jobIds.at(-1) ?? "")).toBe("RATE_LIMIT"));
    await eventually(() => expect(jobIds.filter(begun)).toHaveLength(6));
    // Asked for a little after they were counted, so that two neighbours may be a little nearer than a period.
    for (const [index, time] of times.slice(2).entries()) expect(time - (times[index] ?? 0)).toBeGreaterThan(800);
  });

  test("that drops the newest ends what comes while its key runs", async () => {
    await set("dropping", { maxRunningPerKey: 1, keyPolicy: "KEY_POLICY_DROP_NEWEST" });
    const [first = ""] = await submit(1, { queue: "dropping", key: "k" });
    await eventually(() => expect(begun(first)).toBe(true));
    const [second = ""] = await submit(1, { queue: "dropping", key: "k" });
    await eventually(async () => expect(await stageOf(orchestrator, second)).toBe("COMPENSATED"));
    expect(askedAbout(world.contexts, second)).toContain("report CANCELLED");
    expect(begun(second)).toBe(false);
  });

  test("that cancels what runs asks for its end, and begins the newer after it", async () => {
    await set("replacing", { maxRunningPerKey: 1, keyPolicy: "KEY_POLICY_CANCEL_RUNNING" });
    const [first = ""] = await submit(1, { queue: "replacing", key: "k" });
    await eventually(() => expect(begun(first)).toBe(true));
    const [second = ""] = await submit(1, { queue: "replacing", key: "k" });
    const cancelled = () => world.contexts.asked.filter(({ method }) => method === "cancel").map(({ jobId }) => jobId);
    await eventually(() => expect(cancelled()).toContain(first));
    expect(cancelled()).not.toContain(second);
    expect(begun(second)).toBe(false);
    await finish(first);
    await eventually(() => expect(begun(second)).toBe(true));
  });

  test("that is given a limit while it runs counts what it has begun before", async () => {
    const early = await submit(3, { queue: "late" });
    await eventually(() => expect(early.filter(begun)).toHaveLength(3));
    await set("late", { maxRunning: 4 });
    await eventually(async () => {
      const rows = await queryOnce(
        world.database.adminUrl,
        "select 1 from orchestrator.saga where queue = 'late' and is_counted",
        [],
      );
      expect(rows).toHaveLength(3);
    });
    const late = await submit(3, { queue: "late" });
    await eventually(() => expect(late.filter(begun)).toHaveLength(1));
    await eventually(async () => expect(await reasonOf(late[2] ?? "")).toBe("QUEUE_LIMIT"));
    expect(late.filter(begun)).toHaveLength(1);
  });

  test("with rules for those that wait tells of them, moves them elsewhere, and fails them at last", async () => {
    world.contexts.slots.set("packed", 0);
    const after = (seconds: number) => `${seconds}s`;
    const onWait = [
      { reason: "REASON_NO_CAPACITY", after: after(1), action: "WAIT_ACTION_MOVE", providerKind: "docker" },
      { reason: "REASON_QUEUE_PAUSED", after: after(1), action: "WAIT_ACTION_NOTIFY" },
      { reason: "REASON_QUEUE_PAUSED", after: after(2), action: "WAIT_ACTION_FAIL" },
    ];
    await orchestrator.queues.setQueue({ queue: "patient", settings: QueueSettings.fromJSON({ onWait }), etag: "" });
    await untilKnown("patient");
    const [moved = ""] = await submit(1, { queue: "patient", provider: "packed" });
    await eventually(() => expect(begun(moved)).toBe(true));
    await orchestrator.queues.pauseQueue({ queue: "patient", message: "" });
    const [failed = ""] = await submit(1, { queue: "patient" });
    await eventually(async () => expect(await stageOf(orchestrator, failed)).toBe("DONE"));
    expect(askedAbout(world.contexts, failed)).toContain("report FAILED");
    await eventually(async () => {
      const subject = `capstan.v1.*.orchestrator.saga.*.${idOf(failed)}`;
      const messages = await readSubject(world.nats.url, "orchestrator", subject);
      expect(messages.map((message) => message.subject.split(".")[5])).toEqual(["waiting", "overdue"]);
    });
  }, 60_000);

  test("that nobody has set is there all the same", async () => {
    const { queue } = await orchestrator.queues.getQueue({ queue: "never-set" });
    expect(queue?.queue).toMatchObject({ name: "never-set", etag: "", settings: { weight: 1, maxRunning: 0 } });
    const { queues } = await orchestrator.queues.listQueues({ pageSize: 0, pageToken: "" });
    expect(queues.map((view) => view.queue?.name)).toContain("default");
    expect(queues.map((view) => view.queue?.name)).not.toContain("never-set");
  });

  test("is refused with every bad field, and with an etag that is not its own", async () => {
    const bad = { weight: -1, maxRunning: 100_001, rate: { count: 0, period: undefined } };
    const refusal = await refusalOf(set("Not A Name", bad));
    expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(refusal.fields.map(({ field }) => field)).toEqual([
      ...["queue", "settings.weight", "settings.max_running", "settings.rate.count", "settings.rate.period"],
    ]);
    const { queue } = await set("etag", { weight: 2 });
    await set("etag", { weight: 3 });
    const stale = orchestrator.queues.setQueue({ queue: "etag", settings: undefined, etag: queue?.etag ?? "" });
    expect(await refusalOf(stale)).toMatchObject({ code: "ABORTED", reason: "QUEUE_CHANGED" });
  });

  test("is deleted only when nothing waits in it or runs, and tells of each move of it", async () => {
    await set("fleeting", { maxRunning: 1 });
    const [jobId = ""] = await submit(1, { queue: "fleeting" });
    await eventually(() => expect(begun(jobId)).toBe(true));
    const remove = () => orchestrator.queues.deleteQueue({ queue: "fleeting", etag: "" });
    expect(await refusalOf(remove())).toMatchObject({ code: "FAILED_PRECONDITION", reason: "QUEUE_IN_USE" });
    await finish(jobId);
    await orchestrator.queues.pauseQueue({ queue: "fleeting", message: "" });
    await orchestrator.queues.resumeQueue({ queue: "fleeting" });
    await remove();
    expect(await refusalOf(remove())).toMatchObject({ code: "NOT_FOUND" });
    await eventually(async () => {
      const messages = await readSubject(world.nats.url, "orchestrator", "capstan.v1.default.orchestrator.queue.*.*");
      const told = messages.filter(({ data }) => JSON.stringify(data).includes("fleeting"));
      expect(told.map(({ subject }) => subject.split(".")[5])).toEqual(["created", "paused", "resumed", "deleted"]);
    });
  });
});

test("two orchestrators that schedule at once exceed no limit at any instant", async () => {
  await set("busy", { maxRunning: 5, maxRunningPerKey: 2 });
  await untilKnown("busy");
  const keys = ["a", "b", "c", "d"];
  const jobs = Array.from({ length: 80 }, (_, index) => ({
    jobId: uuidv7(),
    key: keys[index % 4] ?? "",
    queue: "busy",
  }));
  const keyOf = new Map(jobs.map(({ jobId, key }) => [jobId, key]));
  const running = new Set<string>();
  const worst = { queue: 0, key: 0 };
  world.contexts.onAnswer = (method, items) => {
    if (method !== "start") return;
    for (const { jobId } of items) {
      if (!keyOf.has(jobId) || running.has(jobId)) continue;
      running.add(jobId);
      worst.queue = Math.max(worst.queue, running.size);
      const ofKey = [...running].filter((id) => keyOf.get(id) === keyOf.get(jobId)).length;
      worst.key = Math.max(worst.key, ofKey);
      // It ends a little later, and is told of by facts that both orchestrators take.
      setTimeout(() => {
        running.delete(jobId);
        void world.facts.publish("execution", started(idOf(jobId)), ended(idOf(jobId)));
      }, 100);
    }
  };
  for (let from = 0; from < jobs.length; from += 4) {
    await world.facts.publish("job", ...jobs.slice(from, from + 4).map(submitted));
  }
  await eventually(async () => {
    const sql = "select count(*)::int as count from orchestrator.saga where queue = 'busy' and stage = 'DONE'";
    expect(await queryOnce(world.database.adminUrl, sql, [])).toEqual([{ count: 80 }]);
  });
  expect(worst.queue).toBeLessThanOrEqual(5);
  expect(worst.queue).toBeGreaterThan(2);
  expect(worst.key).toBe(2);
});
