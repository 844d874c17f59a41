import { afterAll, expect, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { getJob, refusalOf, seconds, shortType, submit } from "../../../test/support/jobs.ts";
import { factsOf, report, reportOf, startTestPair, type TestService } from "./startTestService.ts";

const { database, first, second, stop } = await startTestPair();
afterAll(stop);

const truth = { command: ["true"] };

/** The facts after a sequence until the job has ended, or until there are `most`. */
async function watch(service: TestService, jobId: string, afterSequence = 0, most = Number.POSITIVE_INFINITY) {
  const seen: { sequence: number; type: string }[] = [];
  for await (const { event } of service.jobs.watchJob({ jobId, afterSequence })) {
    if (event !== undefined) seen.push({ sequence: event.sequence, type: shortType(event) });
    if (seen.length >= most) break;
  }
  return seen;
}

test("a watch that is broken off again and again misses nothing and repeats nothing while facts are written", async () => {
  const attempts = 15;
  const retry = { maxAttempts: attempts, initialBackoff: seconds(0.001), maxBackoff: seconds(0.001) };
  const { id } = await submit(first, { ...truth, retry });

  async function live(): Promise<void> {
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      await eventually(async () =>
        expect((await getJob(first, id)).steps[0]).toMatchObject({ attempt, state: "STEP_STATE_READY" }),
      );
      await report(first, reportOf(id, "STARTED", { attempt }));
      await report(second, reportOf(id, "FAILED", { attempt, exitCode: 1 }));
    }
  }
  async function follow(): Promise<readonly { sequence: number; type: string }[]> {
    const seen: { sequence: number; type: string }[] = [];
    for (let turn = 1; seen.at(-1)?.type !== "job.failed"; turn += 1) {
      const service = turn % 2 === 0 ? first : second;
      seen.push(...(await watch(service, id, seen.at(-1)?.sequence ?? 0, (turn % 3) + 1)));
    }
    return seen;
  }
  const [seen, whole] = await Promise.all([follow(), watch(second, id), live()]);
  expect(seen.map(({ sequence }) => sequence)).toEqual(seen.map((_, index) => index + 1));
  expect(seen.map(({ type }) => type)).toEqual((await factsOf(database, id)).map((fact) => fact.replace("*", "")));
  expect(whole).toEqual(seen);
  // submitted, for each attempt started and failed, and ready for each but the first.
  expect(seen).toHaveLength(1 + 2 * attempts + attempts - 1);
});

test("a watch of a job that has ended tells the rest and ends", async () => {
  const { id } = await submit(first, truth);
  await report(first, reportOf(id, "STARTED"), reportOf(id, "SUCCEEDED"));
  expect(await watch(first, id)).toHaveLength(3);
  expect(await watch(first, id, 2)).toEqual([{ sequence: 3, type: "job.succeeded" }]);
  expect(await watch(first, id, 3)).toEqual([]);
});

test("a watch of a job that is not there is refused", async () => {
  expect(await refusalOf(watch(first, "00000000-0000-7000-8000-000000000000"))).toMatchObject({ code: "NOT_FOUND" });
});

test("a wait that ends too soon answers with the job as it is, and one that is long enough when the job has ended", async () => {
  const { id } = await submit(first, truth);
  expect(await second.jobs.waitJob({ jobId: id, timeout: seconds(0.05) })).toMatchObject({ done: false });
  // Its deadline is shorter than its wait: it is answered all the same.
  expect(await second.jobs.waitJob({ jobId: id, timeout: seconds(60) }, { deadlineMs: 300 })).toMatchObject({
    done: false,
  });
  const waiting = second.jobs.waitJob({ jobId: id, timeout: seconds(20) });
  await report(first, reportOf(id, "SUCCEEDED"));
  expect(await waiting).toMatchObject({ done: true, job: { state: "JOB_STATE_SUCCEEDED" } });
});
