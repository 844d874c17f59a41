import { openPool } from "@capstan/postgres";
import { createLogger } from "@capstan/service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { refusalOf, requestOf, submit } from "../../../test/support/jobs.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { jobOrders } from "./jobQueries.ts";
import { countJobs } from "./jobStatsQueries.ts";
import { report, reportOf, startTestService, type TestService } from "./startTestService.ts";

let database: TestDatabase;
let nats: TestNats;
let service: TestService;

beforeAll(async () => {
  [database, nats] = await Promise.all([createTestDatabase("job"), startTestNats()]);
  service = await startTestService(database, nats.url);
});

afterAll(async () => {
  await service.end("SIGTERM");
  await Promise.all([database.drop(), nats.release()]);
});

const truth = { command: ["true"] };
const first = { filter: "", orderBy: "", pageSize: 10, pageToken: "" };

async function submitMany(count: number, batch: string): Promise<string[]> {
  const requests = Array.from({ length: count }, (_, index) =>
    requestOf(truth, { name: `${batch} ${(index * 7) % count}`, labels: { batch } }),
  );
  const { results } = await service.jobs.submitJobs({ requests });
  return results.map(({ outcome }) => (outcome?.$case === "accepted" ? outcome.value.jobId : "refused"));
}

async function listAll(query: Partial<typeof first>, between = async (): Promise<void> => {}) {
  const pages: { id: string; name: string; createTime: Date | undefined }[][] = [];
  let pageToken = "";
  do {
    const page = await service.jobs.listJobs({ ...first, ...query, pageToken });
    pages.push(page.jobs.map(({ id, spec, createTime }) => ({ id, name: spec?.name ?? "", createTime })));
    pageToken = page.nextPageToken;
    await between();
  } while (pageToken !== "");
  return pages.flat();
}

async function idsFor(filter: string): Promise<string[]> {
  return (await listAll({ filter })).map(({ id }) => id).sort();
}

test.each(jobOrders)("pages in the order %s go on where they ended while jobs come in", async (orderBy) => {
  const batch = `order ${orderBy}`;
  const before = await submitMany(35, batch);
  const listed = await listAll(
    { orderBy, filter: `labels.batch = "${batch}"` },
    async () => void (await submitMany(5, batch)),
  );
  const ids = listed.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(before.filter((id) => !ids.includes(id))).toEqual([]);
  const values = listed.map(({ name, createTime }) =>
    orderBy.startsWith("name") ? name : (createTime?.toISOString() ?? ""),
  );
  expect(orderBy.endsWith("desc") ? values.toReversed() : values).toEqual(values.toSorted());
});

test("a page token belongs to its query, and is not taken by another or when it was made up", async () => {
  await submitMany(11, "tokens");
  const query = { ...first, filter: 'labels.batch = "tokens"' };
  const { nextPageToken: pageToken } = await service.jobs.listJobs(query);
  expect((await service.jobs.listJobs({ ...query, pageToken, pageSize: 3 })).jobs).toHaveLength(1);
  for (const other of [
    { ...query, filter: "", pageToken },
    { ...query, orderBy: "name", pageToken },
    { ...query, pageToken: "nonsense" },
    { ...query, pageToken: Buffer.from('["x"]').toString("base64url") },
  ]) {
    const refusal = await refusalOf(service.jobs.listJobs(other));
    expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", fields: [{ field: "page_token" }] });
  }
  const { id } = await submit(service, truth);
  const events = service.jobs.listJobEvents({ jobId: id, pageSize: 10, pageToken });
  expect(await refusalOf(events)).toMatchObject({ fields: [{ field: "page_token" }] });
});

test("a page token that was added to reads no more than the one it was made from", async () => {
  await submitMany(11, "forged");
  const query = { ...first, filter: 'labels.batch = "forged"' };
  const { nextPageToken } = await service.jobs.listJobs(query);
  await queryOnce(database.adminUrl, "update job.job set tenant = 'another' where labels ->> 'batch' = 'forged'");
  const parts: unknown[] = JSON.parse(Buffer.from(nextPageToken, "base64url").toString());
  const pageToken = Buffer.from(JSON.stringify([...parts, "another", "50"])).toString("base64url");
  expect((await service.jobs.listJobs({ ...query, pageToken })).jobs).toEqual([]);
});

test("pages of large jobs end early rather than to be too large to be received", async () => {
  const script = { content: "#".repeat(120_000) };
  const ids = await Promise.all(
    Array.from({ length: 40 }, async () => (await submit(service, { script }, { name: "large" })).id),
  );
  const page = await service.jobs.listJobs({ ...first, filter: 'name = "large"', pageSize: 1_000 });
  expect(JSON.stringify(page.jobs).length).toBeLessThan(4 * 1024 * 1024);
  expect(await idsFor('name = "large"')).toEqual(ids.toSorted());
});

test.each([
  "'; drop table job.job; --",
  "x' or '1' = '1",
  "%",
  "$1",
  '{"a":"b"}',
  "back\\slash",
  'a "quoted" text',
  "naïve — ✓",
])("a label with the value %s is found by it, and nothing else is", async (value) => {
  const { id } = await submit(service, truth, { labels: { hostile: value } });
  await submit(service, truth, { labels: { hostile: "harmless" } });
  const quoted = JSON.stringify(value);
  expect(await idsFor(`labels.hostile = ${quoted}`)).toEqual([id]);
  expect(await idsFor(`name = ${quoted}`)).toEqual([]);
  expect(await queryOnce(database.adminUrl, "select to_regclass('job.job')::text as name")).toEqual([
    { name: "job.job" },
  ]);
});

test("a label's key is a parameter too", async () => {
  for (const key of ["a') = 'b') or true --", "a\\", "$2"]) {
    const outcome = await service.jobs.listJobs({ ...first, filter: `labels.${JSON.stringify(key)} = "x"` }).then(
      ({ jobs }) => jobs,
      (error: { code: string }) => error.code,
    );
    expect(["INVALID_ARGUMENT", []]).toContainEqual(outcome);
  }
});

test("filters combine, and what they cannot mean is refused with the place", async () => {
  const [one = "", other = ""] = await submitMany(2, "combined");
  await report(service, reportOf(one, "FAILED", { exitCode: 1, reason: "REASON_EXIT_CODE" }));
  expect(await idsFor('labels.batch = "combined" AND state = FAILED')).toEqual([one]);
  expect(await idsFor('labels.batch = "combined" AND reason = EXIT_CODE')).toEqual([one]);
  expect(await idsFor('labels.batch = "combined" AND NOT state = FAILED')).toEqual([other]);
  expect(await idsFor('labels.batch = "combined" AND labels.nothing:*')).toEqual([]);
  for (const filter of ["state = GOOD", "colour = blue", "state =", 'name = "open', "create_time > yesterday"]) {
    const refusal = await refusalOf(service.jobs.listJobs({ ...first, filter }));
    expect(refusal.fields).toMatchObject([{ field: "filter", description: expect.stringMatching(/^column \d+/) }]);
  }
  expect(await refusalOf(service.jobs.listJobs({ ...first, orderBy: "color" }))).toMatchObject({
    fields: [{ field: "order_by" }],
  });
  expect(await refusalOf(service.jobs.listJobs({ ...first, pageSize: -1 }))).toMatchObject({
    fields: [{ field: "page_size" }],
  });
});

const noSpan = { span: undefined, buckets: 0 };

test("stats count what lives, what has come and ended lately, and why jobs failed", async () => {
  const before = await service.jobs.getJobStats(noSpan);
  const [good = "", bad = "", worse = "", live = ""] = await submitMany(4, "counted");
  const failed = { exitCode: 7, reason: "REASON_EXIT_CODE", message: "exit code 7" } as const;
  await report(service, reportOf(good, "SUCCEEDED"), reportOf(bad, "FAILED", failed));
  await report(service, reportOf(worse, "FAILED", { ...failed, message: "exit code 8" }), reportOf(live, "STARTED"));

  // Another span, because the answer to the same is shared for a second.
  const after = await service.jobs.getJobStats({ span: { seconds: 3_601, nanos: 0 }, buckets: 0 });
  const sum = (stats: typeof after, state: "succeeded" | "failed" | "running") =>
    stats.buckets.reduce((count, { accepted }) => count + (accepted?.[state] ?? 0), 0);
  expect(after.buckets).toHaveLength(60);
  expect(sum(after, "succeeded") - sum(before, "succeeded")).toBe(1);
  expect(sum(after, "failed") - sum(before, "failed")).toBe(2);
  expect((after.live?.running ?? 0) - (before.live?.running ?? 0)).toBe(1);
  const ended = (stats: typeof after) => stats.buckets.reduce((count, bucket) => count + bucket.ended, 0);
  expect(ended(after) - ended(before)).toBe(3);
  expect(after.failures.find(({ reason }) => reason === "REASON_EXIT_CODE")).toMatchObject({
    state: "JOB_STATE_FAILED",
    lastJobId: worse,
    lastMessage: "exit code 8",
  });
});

test("stats of many jobs say how far back they were counted", async () => {
  const [oldest = "", ...others] = await submitMany(6, "newest");
  const pool = openPool({ url: database.urlOf("job"), schema: "job", log: createLogger("test", "silent") });
  const stats = await countJobs(pool, { tenant: "default", spanMs: 600_000, buckets: 10, limit: others.length });
  await pool.end();
  const { job } = await service.jobs.getJob({ jobId: oldest });
  expect(stats.accepted.reduce((sum, { count }) => sum + count, 0)).toBe(others.length);
  expect(stats.beginTime.getTime()).toBeGreaterThanOrEqual(job?.createTime?.getTime() ?? Number.POSITIVE_INFINITY);
});

test("stats over a span or in parts that there cannot be are refused with all that is wrong", async () => {
  const refusal = await refusalOf(service.jobs.getJobStats({ span: { seconds: 5, nanos: 0 }, buckets: 501 }));
  expect(refusal.fields.map(({ field }) => field)).toEqual(["span", "buckets"]);
});
