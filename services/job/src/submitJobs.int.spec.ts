import { afterAll, expect, test } from "vitest";
import { queryOnce } from "../../../test/support/database.ts";
import { refusalOf, requestOf } from "../../../test/support/jobs.ts";
import { factsOf, startTestPair } from "./startTestService.ts";

const { database, first, second, stop } = await startTestPair();
afterAll(stop);

const truth = { command: ["true"] };

async function countJobs(): Promise<number> {
  const [row] = await queryOnce(database.adminUrl, "select count(*)::int as count from job.job");
  return Number(row?.["count"]);
}

test.each([
  "idempotencyKey",
  "requestId",
] as const)("the same %s submitted 20 times at once to two replicas is one job, told of once", async (key) => {
  const before = await countJobs();
  const request = requestOf(truth, {}, { [key]: `parallel ${key}` });
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? first : second).jobs.submitJob(request)),
  );
  const ids = new Set(answers.map(({ job }) => job?.id));
  expect(ids.size).toBe(1);
  expect(answers.filter(({ existed }) => !existed)).toHaveLength(1);
  expect(await countJobs()).toBe(before + 1);
  expect(await factsOf(database, [...ids][0] ?? "")).toEqual(["job.submitted"]);
});

test("a key is taken only by the same content: other content is refused and names the job", async () => {
  const key = { idempotencyKey: "nightly" };
  const { job } = await first.jobs.submitJob(requestOf(truth, { labels: { b: "2", a: "1" } }, key));
  const again = await second.jobs.submitJob(requestOf(truth, { labels: { a: "1", b: "2" } }, key));
  expect(again).toMatchObject({ existed: true, job: { id: job?.id } });

  const refusal = await refusalOf(second.jobs.submitJob(requestOf({ command: ["false"] }, {}, key)));
  expect(refusal).toMatchObject({
    code: "ALREADY_EXISTS",
    reason: "IDEMPOTENCY_KEY_REUSED",
    metadata: { jobId: job?.id },
    resource: { type: "capstan.job.v1.Job", name: job?.id },
  });
});

test("a batch is answered item by item, in its order, and a bad item spoils no other", async () => {
  const { job: taken } = await first.jobs.submitJob(requestOf(truth, {}, { idempotencyKey: "taken" }));
  const before = await countJobs();
  const { results } = await first.jobs.submitJobs({
    requests: [
      requestOf(truth, { name: "good" }),
      requestOf({ command: [] }, { name: "" }),
      requestOf({ command: ["false"] }, {}, { idempotencyKey: "taken" }),
      requestOf(truth, {}, { idempotencyKey: "taken" }),
      requestOf(truth, { name: "twin" }, { idempotencyKey: "twin" }),
      requestOf(truth, { name: "twin" }, { idempotencyKey: "twin" }),
      requestOf(truth, {}, { validateOnly: true }),
    ],
  });
  const [good, bad, reused, repeated, twin, otherTwin, validated] = results.map(({ outcome }) => outcome);
  expect(good).toMatchObject({ $case: "accepted", value: { existed: false } });
  expect(bad).toMatchObject({
    $case: "refused",
    value: {
      code: "INVALID_ARGUMENT",
      fields: [{ field: "requests[1].spec.name" }, { field: "requests[1].spec.steps[0].command" }],
    },
  });
  expect(reused).toMatchObject({ $case: "refused", value: { code: "ALREADY_EXISTS", jobId: taken?.id } });
  expect(repeated).toEqual({ $case: "accepted", value: { jobId: taken?.id, existed: true, warnings: [] } });
  expect(twin).toMatchObject({ $case: "accepted", value: { existed: false } });
  expect(otherTwin).toMatchObject({ value: { jobId: twin?.$case === "accepted" && twin.value.jobId, existed: true } });
  expect(validated).toEqual({ $case: "accepted", value: { jobId: "", existed: false, warnings: [] } });
  expect(await countJobs()).toBe(before + 2);
});

test("two batches with the same keys in opposite order are both answered, with the same jobs", async () => {
  const requests = Array.from({ length: 400 }, (_, index) =>
    requestOf(truth, {}, { idempotencyKey: `cross ${index}` }),
  );
  const [forth, back] = await Promise.all([
    first.jobs.submitJobs({ requests }),
    second.jobs.submitJobs({ requests: requests.toReversed() }),
  ]);
  const idsOf = ({ results }: typeof forth) =>
    results.map(({ outcome }) => (outcome?.$case === "accepted" ? outcome.value.jobId : JSON.stringify(outcome)));
  expect(idsOf(back).toReversed()).toEqual(idsOf(forth));
  expect(new Set(idsOf(forth)).size).toBe(400);
});
