import { randomUUID } from "node:crypto";
import { openPool } from "@capstan/postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, createTestLog, type TestDatabase } from "../../../test/support/database.ts";
import { listEvents, refusalOf, submit } from "../../../test/support/jobs.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { readJobPages } from "./jobEventQueries.ts";
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
const cursor = (jobId: string, change: object = {}) => ({
  jobId,
  afterSequence: 0,
  newest: 0,
  onlyLabels: false,
  ...change,
});

test("the facts of many jobs are read at once, of each from its own place, as they are published", async () => {
  const [one, other] = await Promise.all([submit(service, truth), submit(service, truth)]);
  await report(service, reportOf(one.id, "STARTED"), reportOf(one.id, "SUCCEEDED"));
  const unknown = [randomUUID(), "no id at all", ""];
  const { pages } = await service.internal.readJobEvents({
    tenant: "",
    cursors: [
      cursor(one.id, { afterSequence: 1 }),
      ...unknown.map((id) => cursor(id)),
      cursor(other.id),
      cursor(one.id, { newest: 1 }),
      cursor(one.id, { afterSequence: 3 }),
    ],
  });
  expect(pages.map(({ found }) => found)).toEqual([true, false, false, false, true, true, true]);
  expect(pages.map(({ sequence }) => sequence)).toEqual([3, 0, 0, 0, 1, 3, 3]);
  expect(pages.map(({ hasEnded }) => hasEnded)).toEqual([true, false, false, false, false, true, true]);
  const types = pages.map(({ events }) => events.map(({ type }) => type.replace("capstan.job.v1.", "")));
  expect(types).toEqual([["job.started", "job.succeeded"], [], [], [], ["job.submitted"], ["job.succeeded"], []]);
  const log = await listEvents(service, one.id);
  const read = pages[0]?.events.map(({ id, type, sequence, time, dataJson }) => ({
    id,
    type,
    sequence,
    time,
    data: JSON.parse(dataJson),
  }));
  expect(read).toEqual(log.slice(1));
  expect(pages[0]?.events.map(({ isTerminal }) => isTerminal)).toEqual([false, true]);
});

test("labels are read of many jobs at once, without their facts", async () => {
  const { job } = await service.jobs.submitJob({
    spec: { ...(await specOf()), labels: { team: "red" } },
    idempotencyKey: "",
    requestId: "",
    validateOnly: false,
    template: undefined,
  });
  const { pages } = await service.internal.readJobEvents({
    tenant: "",
    cursors: [cursor(job?.id ?? "", { onlyLabels: true })],
  });
  expect(pages).toEqual([{ found: true, sequence: 1, hasEnded: false, events: [], labels: { team: "red" } }]);
});

async function specOf() {
  const { id } = await submit(service, truth);
  const { job } = await service.jobs.getJob({ jobId: id });
  if (job?.spec === undefined) throw new Error("a job has a spec");
  return job.spec;
}

test("an answer ends where it would be too large, and reading on from there gets everything", async () => {
  const pool = openPool({ url: database.urlOf("job"), schema: "job", log: createTestLog() });
  const jobs = await Promise.all(Array.from({ length: 3 }, () => submit(service, truth)));
  await report(service, ...jobs.flatMap(({ id }) => [reportOf(id, "STARTED"), reportOf(id, "SUCCEEDED")]));
  const seen = new Map(jobs.map(({ id }) => [id, 0]));
  let turns = 0;
  for (let isDone = false; !isDone; turns += 1) {
    const cursors = [...seen].map(([jobId, afterSequence]) => cursor(jobId, { afterSequence }));
    const pages = await readJobPages(pool, "default", cursors, 1);
    isDone = true;
    for (const [index, page] of pages.entries()) {
      const { jobId = "", afterSequence = 0 } = cursors[index] ?? {};
      for (const [at, { sequence }] of (page?.facts ?? []).entries()) expect(sequence).toBe(afterSequence + at + 1);
      const last = page?.facts.at(-1)?.sequence ?? afterSequence;
      seen.set(jobId, last);
      if (last < (page?.sequence ?? 0)) isDone = false;
    }
  }
  expect([...seen.values()]).toEqual([3, 3, 3]);
  // Every answer had one fact.
  expect(turns).toBe(9);
  await pool.end();
});

test("bad cursors are refused together", async () => {
  const cursors = [cursor("", { afterSequence: -1 }), cursor("", { newest: -1 })];
  expect(await refusalOf(service.internal.readJobEvents({ cursors, tenant: "" }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    fields: [{ field: "cursors[0].after_sequence" }, { field: "cursors[1].newest" }],
  });
  const many = Array.from({ length: 1_001 }, () => cursor(""));
  expect(await refusalOf(service.internal.readJobEvents({ tenant: "", cursors: many }))).toMatchObject({
    fields: [{ field: "cursors", description: "has more than 1,000" }],
  });
});
