/** A service submits many jobs, repeats itself when in doubt, and finds its jobs again. */

import { uuidv7 } from "@capstan/postgres";
import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { getJob, refusalOf, requestOf, sh, submit, untilEnded } from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();

test("the same idempotency key and spec is the same job, also from many callers at once", async () => {
  const { capstan } = platform();
  const request = requestOf(
    { command: ["true"] },
    { labels: { b: "2", a: "1" } },
    { idempotencyKey: "nightly report" },
  );
  const answers = await Promise.all(Array.from({ length: 20 }, () => capstan.jobs.submitJob(request)));
  expect(new Set(answers.map(({ job }) => job?.id)).size).toBe(1);
  expect(answers.filter(({ existed }) => !existed)).toHaveLength(1);
  const reordered = requestOf(
    { command: ["true"] },
    { labels: { a: "1", b: "2" } },
    { idempotencyKey: "nightly report" },
  );
  expect(await capstan.jobs.submitJob(reordered)).toMatchObject({ existed: true, job: { id: answers[0]?.job?.id } });
});

test("the same key with another spec is refused, and the job that has it is named", async () => {
  const { capstan } = platform();
  const holder = await submit(capstan, { command: ["true"] }, {}, { idempotencyKey: "key" });
  const refusal = await refusalOf(submit(capstan, { command: ["false"] }, {}, { idempotencyKey: "key" }));
  expect(refusal).toMatchObject({
    code: "ALREADY_EXISTS",
    reason: "IDEMPOTENCY_KEY_REUSED",
    resource: { name: holder.id },
    message: expect.stringContaining("idempotency_key"),
  });
});

test("a call that is repeated with its request id is answered as before, and one with another spec is refused", async () => {
  const { capstan } = platform();
  const requestId = uuidv7();
  const first = await submit(capstan, { command: ["true"] }, {}, { requestId });
  const again = await submit(capstan, { command: ["true"] }, {}, { requestId });
  expect(again.id).toBe(first.id);
  expect(await refusalOf(submit(capstan, { command: ["false"] }, {}, { requestId }))).toMatchObject({
    code: "ALREADY_EXISTS",
    reason: "REQUEST_ID_REUSED",
  });
});

test("validate_only checks everything and keeps nothing", async () => {
  const { capstan } = platform();
  const { job } = await capstan.jobs.submitJob(requestOf(sh("true"), { name: "only checked" }, { validateOnly: true }));
  expect(job).toMatchObject({ id: "", spec: { steps: [{ name: "main", stopGrace: { seconds: 10 } }] } });
  expect((await refusalOf(submit(capstan, {}, {}, { validateOnly: true }))).code).toBe("INVALID_ARGUMENT");
  const { jobs } = await capstan.jobs.listJobs({
    filter: `name = "only checked"`,
    orderBy: "",
    pageSize: 0,
    pageToken: "",
  });
  expect(jobs).toEqual([]);
});

test("a batch of a thousand is answered item by item in its order, and a bad one does not spoil the others", async () => {
  const { capstan } = platform();
  const bad = new Set([0, 13, 999]);
  const requests = Array.from({ length: 1_000 }, (_, index) =>
    requestOf({ command: bad.has(index) ? [] : ["true"] }, { name: `item ${index}`, labels: { batch: "big" } }),
  );
  const { results } = await capstan.jobs.submitJobs({ requests });
  expect(results).toHaveLength(1_000);
  for (const [index, { outcome }] of results.entries()) {
    if (!bad.has(index)) expect(outcome).toMatchObject({ $case: "accepted", value: { existed: false } });
    else {
      expect(outcome).toMatchObject({
        $case: "refused",
        value: { code: "INVALID_ARGUMENT", fields: [{ field: `requests[${index}].spec.steps[0].command` }] },
      });
    }
  }
  const [, second] = results;
  const jobId = second?.outcome?.$case === "accepted" ? second.outcome.value.jobId : "";
  expect((await getJob(capstan, jobId)).spec?.name).toBe("item 1");
  await eventually(async () => {
    const filter = `labels.batch = "big" AND NOT state = SUCCEEDED`;
    expect((await capstan.jobs.listJobs({ filter, orderBy: "", pageSize: 1, pageToken: "" })).jobs).toEqual([]);
  }, 60_000);
});

test("the same key twice in one batch is one job", async () => {
  const { capstan } = platform();
  const request = requestOf({ command: ["true"] }, {}, { idempotencyKey: "twice" });
  const { results } = await capstan.jobs.submitJobs({ requests: [request, request] });
  const accepted = results.map(({ outcome }) => (outcome?.$case === "accepted" ? outcome.value : null));
  expect(accepted.map((item) => item?.existed)).toEqual([false, true]);
  expect(accepted[0]?.jobId).toBe(accepted[1]?.jobId);
});

/** Every page until the last. */
async function listAll(filter: string, orderBy: string, pageSize: number): Promise<readonly Job[]> {
  const { jobs } = platform().capstan;
  const found: Job[] = [];
  let pageToken = "";
  do {
    const page = await jobs.listJobs({ filter, orderBy, pageSize, pageToken });
    expect(page.jobs.length).toBeLessThanOrEqual(pageSize);
    found.push(...page.jobs);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found;
}

test("jobs are found by what they are, page by page, in every order, none twice and none left out", async () => {
  const { capstan } = platform();
  const names = Array.from({ length: 23 }, (_, index) => `list-${String(index % 12).padStart(2, "0")}`);
  const requests = names.map((name, index) =>
    requestOf(sh(`exit ${index % 2}`), {
      name,
      labels: { story: "list", parity: index % 2 ? "odd" : "even" },
      source: "test",
    }),
  );
  const { results } = await capstan.jobs.submitJobs({ requests });
  const ids = results.map(({ outcome }) => (outcome?.$case === "accepted" ? outcome.value.jobId : ""));
  await Promise.all(ids.map((id) => untilEnded(capstan, { id })));

  const byTime = await listAll(`labels.story = "list"`, "create_time", 7);
  expect(byTime.map(({ id }) => id).sort()).toEqual([...ids].sort());
  const newestFirst = await listAll(`labels.story = "list"`, "", 5);
  expect(newestFirst.map(({ id }) => id)).toEqual(byTime.map(({ id }) => id).reverse());
  const byName = await listAll(`labels.story = "list"`, "name", 4);
  expect(byName.map(({ spec }) => spec?.name)).toEqual([...names].sort());
  const byNameDown = await listAll(`labels.story = "list"`, "name desc", 4);
  expect(byNameDown.map(({ id }) => id)).toEqual(byName.map(({ id }) => id).reverse());

  const failed = await listAll(`state = FAILED AND labels.story = "list"`, "", 50);
  expect(failed.map(({ id }) => id).sort()).toEqual(ids.filter((_, index) => index % 2 === 1).sort());
  const even = await listAll(`labels.parity = "even" AND source = "test" AND name != "list-00"`, "", 50);
  expect(even).toHaveLength(10);
  // All of the batch may have been accepted in one millisecond; this one comes after they have ended.
  const { job: late } = await capstan.jobs.submitJob(requestOf(sh("true"), { name: "list-late", source: "test" }));
  const since = late?.createTime?.toISOString() ?? "";
  const later = await listAll(`source = "test" AND create_time >= "${since}"`, "create_time", 50);
  expect(later.map(({ id }) => id)).toEqual([late?.id]);
  expect(await listAll(`labels.story = "list" AND (name = "list-03" OR name = "list-04")`, "", 50)).toHaveLength(4);
});
