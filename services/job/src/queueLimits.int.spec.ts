/** How deep a queue may be, with two replicas that are submitted to at once. */
import { afterAll, expect, test } from "vitest";
import { queryOnce } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { refusalOf, requestOf } from "../../../test/support/jobs.ts";
import { report, reportOf, startTestPair } from "./startTestService.ts";

const { database, first, second, stop } = await startTestPair();
afterAll(stop);

const truth = { command: ["true"] };
const limit = (queue: string, maxDepth: number, drainPerSecond = 0) =>
  first.internal.setQueueLimits({ limits: [{ tenant: "default", queue, maxDepth, drainPerSecond }] });

/** The other replica has heard of it: it refuses, too. */
async function untilFull(queue: string): Promise<void> {
  await eventually(async () => {
    const refusal = await refusalOf(second.jobs.submitJob(requestOf(truth, { queue })));
    expect(refusal.reason).toBe("QUEUE_FULL");
  });
}

test("a full queue refuses more, naming depth and limit and when to come again, and takes more when one has begun", async () => {
  await limit("small", 2, 4);
  const { job } = await first.jobs.submitJob(requestOf(truth, { queue: "small" }));
  await first.jobs.submitJob(requestOf(truth, { queue: "small" }));
  const refusal = await refusalOf(first.jobs.submitJob(requestOf(truth, { queue: "small" })));
  expect(refusal).toMatchObject({
    code: "RESOURCE_EXHAUSTED",
    reason: "QUEUE_FULL",
    message: "queue small holds 2 jobs that have not begun; its limit is 2",
    metadata: { queue: "small", depth: "2", limit: "2" },
    retryAfterMs: 250,
  });
  await first.jobs.submitJob(requestOf(truth, { queue: "other" }));
  await report(first, reportOf(job?.id ?? "", "STARTED"));
  await first.jobs.submitJob(requestOf(truth, { queue: "small" }));
});

test("of a batch as many as fit are accepted, and who repeats one that is there is answered with it", async () => {
  await limit("batch", 3);
  const requests = Array.from({ length: 5 }, (_, n) =>
    requestOf(truth, { queue: "batch" }, { idempotencyKey: `b${n}` }),
  );
  const once = await first.jobs.submitJobs({ requests });
  expect(once.results.map(({ outcome }) => outcome?.$case)).toEqual([
    "accepted",
    "accepted",
    "accepted",
    "refused",
    "refused",
  ]);
  expect(once.results[3]?.outcome?.value).toMatchObject({ code: "RESOURCE_EXHAUSTED", retryAfter: { seconds: 5 } });
  const again = await first.jobs.submitJobs({ requests });
  expect(again.results.map(({ outcome }) => outcome?.$case)).toEqual(once.results.map(({ outcome }) => outcome?.$case));
});

test("two replicas that are submitted to at once let no more in than fit", async () => {
  await limit("race", 1);
  await first.jobs.submitJob(requestOf(truth, { queue: "race" }));
  await untilFull("race");
  await limit("race", 20);
  const answers = await Promise.allSettled(
    Array.from({ length: 60 }, (_, n) =>
      (n % 2 === 0 ? first : second).jobs.submitJob(requestOf(truth, { queue: "race" })),
    ),
  );
  expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(19);
});

test("what waited before the limit was set counts, and without a limit nothing is refused or counted", async () => {
  for (let n = 0; n < 3; n += 1) await first.jobs.submitJob(requestOf(truth, { queue: "before" }));
  await limit("before", 3);
  expect(await refusalOf(first.jobs.submitJob(requestOf(truth, { queue: "before" })))).toMatchObject({
    reason: "QUEUE_FULL",
  });
  await limit("before", 0);
  await first.jobs.submitJob(requestOf(truth, { queue: "before" }));
  await first.jobs.submitJob(requestOf(truth));
  const sql = "select count(*)::int as count from job.job where is_bounded and queue in ('default', 'other')";
  expect(await queryOnce(database.adminUrl, sql, [])).toEqual([{ count: 0 }]);
});
