import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { getJob, seconds, submit } from "../../../test/support/jobs.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { factsOf, report, reportOf, startTestService, type TestService } from "./startTestService.ts";

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

/** The poll alone, every five seconds, would be too late for this. */
const soonerThanPollMs = 4_000;

const truth = { command: ["true"] };
const exit1 = { reason: "REASON_EXIT_CODE", exitCode: 1 } as const;

/** When the log of facts says that it happened; milliseconds. */
async function timeOf(jobId: string, event: string): Promise<number> {
  const [row] = await queryOnce(
    database.adminUrl,
    "select extract(epoch from time) * 1000 as ms from job.event where aggregate_id = $1 and event = $2",
    [jobId, event],
  );
  if (row === undefined) throw new Error(`${event} has not happened`);
  return Number(row["ms"]);
}

test("a failed attempt is tried again after its backoff, which grows, until the attempts are spent", async () => {
  const retry = { maxAttempts: 3, initialBackoff: seconds(0.2), multiplier: 2 };
  const { id } = await submit(service, { ...truth, retry });
  for (const [attempt, waitMs] of [200, 400].entries()) {
    expect(await report(service, reportOf(id, "FAILED", { attempt: attempt + 1, ...exit1 }))).toEqual(["APPLIED"]);
    await eventually(async () => {
      expect((await getJob(service, id)).steps[0]).toMatchObject({ state: "STEP_STATE_READY", attempt: attempt + 2 });
    }, soonerThanPollMs);
    const [row] = await queryOnce(
      database.adminUrl,
      `select extract(epoch from ready.time - due.time) * 1000 as late, extract(epoch from due.time - failed.time) * 1000 as wait
         from (select * from job.event where aggregate_id = $1 and event = 'backed_off' order by sequence desc limit 1) failed
        cross join lateral (select (failed.data -> 'steps' -> 0 ->> 'dueTime')::timestamptz as time) due
         join job.event ready on ready.aggregate_id = $1 and ready.sequence = failed.sequence + 1`,
      [id],
    );
    // The wait begins when the failure is decided, which under load is a while before its fact is written.
    expect(Number(row?.["late"])).toBeGreaterThanOrEqual(-1);
    expect(Number(row?.["wait"])).toBeLessThanOrEqual(waitMs + 1);
    expect(Number(row?.["wait"])).toBeGreaterThan(0);
  }
  await report(service, reportOf(id, "FAILED", { attempt: 3, ...exit1 }));
  expect(await factsOf(database, id)).toEqual([
    "job.submitted",
    "step.backed_off",
    "step.ready",
    "step.backed_off",
    "step.ready",
    "job.failed*",
  ]);
});

test("a job waits until its not_before", async () => {
  const later = await submit(service, truth, { notBefore: new Date(Date.now() + 3_600_000) });
  expect(later.steps[0]).toMatchObject({ state: "STEP_STATE_BLOCKED", reason: "REASON_NOT_BEFORE" });
  expect(await report(service, reportOf(later.id, "STARTED"))).toEqual(["REPEATED"]);

  const notBefore = new Date(Date.now() + 1_000);
  const { id } = await submit(service, truth, { notBefore });
  expect(await eventually(() => timeOf(id, "ready"), soonerThanPollMs)).toBeGreaterThanOrEqual(notBefore.getTime());
  expect((await getJob(service, id)).steps[0]).toMatchObject({ state: "STEP_STATE_READY", reason: "REASON_QUEUED" });
});

test("a job past its deadline is asked to end, and has timed out when its workload is confirmed to be stopped", async () => {
  const { id } = await submit(service, truth, { timeout: seconds(0.3) });
  await report(service, reportOf(id, "STARTED"));
  await eventually(() => timeOf(id, "cancelling"), soonerThanPollMs);
  expect(await getJob(service, id)).toMatchObject({ state: "JOB_STATE_CANCELLING", reason: "REASON_JOB_TIMEOUT" });
  await report(service, reportOf(id, "CANCELLED"));
  expect(await getJob(service, id)).toMatchObject({ state: "JOB_STATE_TIMED_OUT", reason: "REASON_JOB_TIMEOUT" });
  expect(await factsOf(database, id)).toEqual(["job.submitted", "job.started", "job.cancelling", "job.timed_out*"]);
});

test("a deadline that passes in a backoff ends the job at once", async () => {
  const retry = { maxAttempts: 2, initialBackoff: seconds(3_600) };
  const { id } = await submit(service, { ...truth, retry }, { timeout: seconds(0.3) });
  await report(service, reportOf(id, "FAILED", exit1));
  await eventually(() => timeOf(id, "timed_out"), soonerThanPollMs);
  expect(await factsOf(database, id)).toEqual(["job.submitted", "step.backed_off", "job.timed_out*"]);
});

test("what came due while no process was there happens at the next start", async () => {
  const backsOff = await submit(service, { ...truth, retry: { maxAttempts: 2, initialBackoff: seconds(0.5) } });
  await report(service, reportOf(backsOff.id, "FAILED", exit1));
  const waits = await submit(service, truth, { notBefore: new Date(Date.now() + 500) });
  const overdue = await submit(service, truth, { timeout: seconds(0.5) });
  const later = await submit(service, truth, { notBefore: new Date(Date.now() + 3_600_000) });

  expect(await service.end("SIGKILL")).toBe("SIGKILL");
  await eventually(() => Date.now() >= (overdue.deadlineTime?.getTime() ?? Number.POSITIVE_INFINITY));
  service = await startTestService(database, nats.url);

  // The first pass is made at the start, long before the next poll.
  await eventually(async () => {
    expect(await factsOf(database, backsOff.id)).toEqual(["job.submitted", "step.backed_off", "step.ready"]);
    expect(await factsOf(database, waits.id)).toEqual(["job.submitted", "step.ready"]);
    expect(await factsOf(database, overdue.id)).toEqual(["job.submitted", "job.cancelling"]);
  }, soonerThanPollMs);
  expect(await factsOf(database, later.id)).toEqual(["job.submitted"]);
});

test("timers of two replicas fire each thing once", async () => {
  const other = await startTestService(database, nats.url);
  const jobs = await Promise.all(
    Array.from({ length: 40 }, () => submit(service, truth, { notBefore: new Date(Date.now() + 1_000) })),
  );
  await eventually(() => Promise.all(jobs.map(({ id }) => timeOf(id, "ready"))), 7_000);
  for (const { id } of jobs) expect(await factsOf(database, id)).toEqual(["job.submitted", "step.ready"]);
  await other.end("SIGTERM");
});
