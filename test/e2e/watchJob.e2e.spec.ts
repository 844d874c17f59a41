/** A service follows its jobs: it sees each fact once and in order, also after it was away, and can wait for the end. */

import type { Event } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import {
  listEvents,
  refusalOf,
  run,
  seconds,
  sh,
  shortType,
  submit,
  untilEnded,
  untilPlaced,
} from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();

/** What a watcher sees, until the job has ended or it has seen enough. */
async function watch(jobId: string, afterSequence: number, atMost = Number.POSITIVE_INFINITY): Promise<Event[]> {
  const seen: Event[] = [];
  for await (const { event } of platform().capstan.jobs.watchJob({ jobId, afterSequence }, { deadlineMs: 20_000 })) {
    if (event !== undefined) seen.push(event);
    if (seen.length >= atMost) break;
  }
  return seen;
}

const retried = sh(`[ "$CAPSTAN_ATTEMPT" = 2 ] || exit 1; sleep 0.3`, {
  retry: { maxAttempts: 2, initialBackoff: seconds(0.2), jitter: 0 },
});

test("who watches sees every fact as it happens, and the stream ends with the job", async () => {
  const { capstan } = platform();
  const job = await submit(capstan, retried);
  const seen = await watch(job.id, 0);
  expect(seen.map(shortType)).toEqual([
    "job.submitted",
    "job.started",
    "step.backed_off",
    "step.ready",
    "step.started",
    "job.succeeded",
  ]);
  expect(seen.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(seen).toEqual(await listEvents(capstan, job.id));
});

test("who was away goes on after the last fact it saw, from wherever", async () => {
  const { capstan } = platform();
  const job = await submit(capstan, retried);
  const before = await watch(job.id, 0, 2);
  const after = await watch(job.id, 2);
  const all = await listEvents(capstan, job.id);
  expect([...before, ...after]).toEqual(all);
  for (const { sequence } of all) expect(await watch(job.id, sequence)).toEqual(all.slice(sequence));
});

test("many may watch the same job", async () => {
  const job = await submit(platform().capstan, sh("sleep 0.3"));
  const views = await Promise.all(Array.from({ length: 20 }, () => watch(job.id, 0)));
  for (const view of views) expect(view).toEqual(views[0]);
});

test("the state that an observer reads never goes back, and never changes after the end", async () => {
  const { capstan } = platform();
  const job = await submit(capstan, sh("sleep 0.2"));
  const states: string[] = [];
  await eventually(async () => {
    const { job: now } = await capstan.jobs.getJob({ jobId: job.id });
    if (now !== undefined && states.at(-1) !== now.state) states.push(now.state);
    expect(now?.endTime).toBeDefined();
  });
  expect(
    ["JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"].filter((state) => states.includes(state)),
  ).toEqual(states);
});

test("waiting answers at once for a job that has ended, and when the time is over for one that has not", async () => {
  const { capstan } = platform();
  const ended = await run(capstan, { command: ["true"] });
  expect(await capstan.jobs.waitJob({ jobId: ended.id, timeout: seconds(30) })).toMatchObject({ done: true });
  const running = await submit(capstan, { command: ["sleep", "3600"], stopGrace: seconds(1) });
  await untilPlaced(capstan, running);
  const before = performance.now();
  const early = await capstan.jobs.waitJob({ jobId: running.id, timeout: seconds(0.3) });
  expect(performance.now() - before).toBeLessThan(3_000);
  expect(early).toMatchObject({ done: false, job: { state: "JOB_STATE_RUNNING" } });
  const hurried = await capstan.jobs.waitJob({ jobId: running.id, timeout: seconds(60) }, { deadlineMs: 700 });
  expect(hurried.done).toBe(false);
  await capstan.jobs.cancelJob({ jobId: running.id, message: "" });
  await untilEnded(capstan, running);
});

test("the facts of a job are listed in pages", async () => {
  const { capstan } = platform();
  const job = await submit(capstan, retried);
  await untilEnded(capstan, job);
  const all = await listEvents(capstan, job.id);
  const first = await capstan.jobs.listJobEvents({ jobId: job.id, pageSize: 4, pageToken: "" });
  const second = await capstan.jobs.listJobEvents({ jobId: job.id, pageSize: 4, pageToken: first.nextPageToken });
  expect([...first.events, ...second.events]).toEqual(all);
  expect(second.nextPageToken).toBe("");
});

test("a job that is not there can be neither watched nor waited for", async () => {
  const { jobs } = platform().capstan;
  const jobId = "00000000-0000-7000-8000-000000000000";
  expect(await refusalOf(watch(jobId, 0))).toMatchObject({ code: "NOT_FOUND", resource: { type: "job", name: jobId } });
  expect(await refusalOf(jobs.waitJob({ jobId, timeout: undefined }))).toMatchObject({ code: "NOT_FOUND" });
});
