/** Workflows in the true store: what is written, told and read of them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../../test/support/database.ts";
import { getJob, submit } from "../../../test/support/jobs.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { factsOf, report, reportOf, startTestService, type TestService } from "./startTestService.ts";

let database: TestDatabase;
let nats: TestNats;
let first: TestService;
let second: TestService;

beforeAll(async () => {
  [database, nats] = await Promise.all([createTestDatabase("job"), startTestNats()]);
  [first, second] = await Promise.all([startTestService(database, nats.url), startTestService(database, nats.url)]);
});

afterAll(async () => {
  await Promise.all([first.end("SIGTERM"), second.end("SIGTERM")]);
  await Promise.all([database.drop(), nats.release()]);
});

test("the items of a step are written when it is reached, and their results are its own in their order", async () => {
  const { id } = await submit(first, {
    handler: "work",
    input: "${{ item }}",
    forEach: { items: ["a", "b", "c"], maxParallel: 2 },
  });
  const ended = (index: number) => reportOf(id, "SUCCEEDED", { step: `main.${index}`, result: { index } });
  expect(await report(second, ended(1), ended(2))).toEqual(["APPLIED", "REPEATED"]);
  expect(await report(first, ended(0))).toEqual(["APPLIED"]);
  expect(await report(second, ended(2))).toEqual(["APPLIED"]);
  expect(await getJob(first, id)).toMatchObject({
    state: "JOB_STATE_SUCCEEDED",
    result: [{ index: 0 }, { index: 1 }, { index: 2 }],
  });
  expect(await factsOf(database, id)).toEqual([
    "job.submitted",
    "job.started",
    "step.ready",
    "step.succeeded",
    "step.succeeded",
    "job.succeeded*",
  ]);
});
