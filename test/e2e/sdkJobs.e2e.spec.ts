/** Jobs through the SDK: submitted one, many and as a stream, followed and awaited, also while the platform is away. */
import { connect, DomainError, JobFailed } from "@capstan/client";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { refusalOf } from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();
const giveBack = (json: string) => ["sh", "-c", `echo 'CAPSTAN_OUTPUT=${json}'`];

test("the result of a job is what it gave back", async () => {
  const { jobs } = platform().capstan;
  const job = await jobs.submit({ name: "answer", command: giveBack('{"answer":42}') });
  expect(await job.result()).toEqual({ answer: 42 });
  expect((await job.get()).state).toBe("JOB_STATE_SUCCEEDED");
});

test("a job that fails rejects with its reason, and so does one that is cancelled", async () => {
  const { jobs } = platform().capstan;
  const failed = await jobs.submit({ name: "fail", script: "exit 3" });
  const failure = await failed.result().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(JobFailed);
  expect(failure).toMatchObject({ jobId: failed.id, state: "FAILED", reason: "EXIT_CODE", exitCode: 3 });

  const long = await jobs.submit({ name: "long", command: ["sleep", "60"] });
  const result = long.result();
  result.catch(() => {});
  await long.cancel({ message: "enough" });
  await expect(result).rejects.toMatchObject({ state: "CANCELLED", reason: "CANCELLED_BY_USER", message: "enough" });
});

test("waiting for a result ends with its signal or its deadline, and the job goes on", async () => {
  const { jobs } = platform().capstan;
  const job = await jobs.submit({ name: "long", command: ["sleep", "60"] });
  const controller = new AbortController();
  const result = job.result({ signal: controller.signal });
  controller.abort();
  await expect(result).rejects.toMatchObject({ code: "CANCELLED" });
  await expect(job.result({ deadlineMs: 50 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  expect((await job.cancel()).state).not.toBe("JOB_STATE_SUCCEEDED");
});

test("the facts of a job come once each and in order, over a restart of the service", async () => {
  const { capstan, services } = platform();
  const job = await capstan.jobs.submit({ name: "followed", script: "sleep 2" });
  const seen: { readonly type: string; readonly sequence: number }[] = [];
  for await (const { type, sequence, state } of job.events()) {
    seen.push({ type, sequence });
    if (state === "RUNNING") await services.job.restart("SIGKILL");
  }
  expect(seen).toEqual([
    { type: "job.submitted", sequence: 1 },
    { type: "job.started", sequence: 2 },
    { type: "job.succeeded", sequence: 3 },
  ]);
});

test("a result survives a restart of the service that was asked for it", async () => {
  const { capstan, services } = platform();
  const job = await capstan.jobs.submit({ name: "awaited", script: "sleep 1; echo 'CAPSTAN_OUTPUT=1'" });
  const result = job.result();
  await services.job.restart("SIGKILL");
  expect(await result).toBe(1);
});

test("jobs submitted while the service is away are accepted once each when it is back", async () => {
  const { capstan, services } = platform();
  await services.job.kill("SIGKILL");
  const submitted = Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      capstan.jobs.submit(
        { name: "away", labels: { batch: "away" }, command: giveBack(String(index)) },
        { deadlineMs: 60_000 },
      ),
    ),
  );
  await services.job.start();
  const results = await Promise.all((await submitted).map((job) => job.result()));
  expect(results).toEqual(Array.from({ length: 20 }, (_, index) => index));
  const { jobs } = await capstan.jobs.listJobs({
    filter: 'labels.batch = "away"',
    orderBy: "",
    pageSize: 50,
    pageToken: "",
  });
  expect(jobs).toHaveLength(20);
});

test("of many jobs each is accepted or refused by itself, in their order", async () => {
  const { jobs } = platform().capstan;
  const outcomes = await jobs.submitMany([
    { name: "first", command: ["true"] },
    { name: "", command: ["true"] },
    { name: "third", command: ["true"] },
  ]);
  expect(outcomes.map(({ job }) => job !== null)).toEqual([true, false, true]);
  expect(outcomes[1]?.refusal).toBeInstanceOf(DomainError);
  expect(outcomes[1]?.refusal?.fields.map(({ field }) => field)).toEqual(["spec.name"]);
  expect((await outcomes[2]?.job?.get())?.spec?.name).toBe("third");
});

test("a stream of jobs is taken as there is room, and answered before it ends", async () => {
  const { jobs } = platform().capstan;
  const answered: string[] = [];
  async function* slow() {
    for (let index = 0; index < 3; index += 1) {
      // The next is given only when the one before was answered, so that this ends only if answers do not wait for the end.
      await eventually(() => answered.length === index);
      yield { name: `stream-${index}`, command: ["true"] };
    }
  }
  for await (const { job } of jobs.submitStream(slow())) {
    answered.push((await job?.get())?.spec?.name ?? "");
  }
  expect(answered).toEqual(["stream-0", "stream-1", "stream-2"]);
});

test("a second submit with the same key is the same job, and with another spec it is refused", async () => {
  const { jobs } = platform().capstan;
  const spec = { name: "unique", command: ["true"], idempotencyKey: "only-once" };
  const first = await jobs.submit(spec);
  const second = await jobs.submit(spec);
  expect([first.existed, second.existed, second.id]).toEqual([false, true, first.id]);
  expect(await refusalOf(jobs.submit({ ...spec, name: "other" }))).toMatchObject({
    code: "ALREADY_EXISTS",
    reason: "IDEMPOTENCY_KEY_REUSED",
    metadata: { jobId: first.id },
  });
});

test("where nobody listens a submit fails with UNAVAILABLE when its deadline is over", async () => {
  const capstan = connect({ address: "127.0.0.1:1" });
  const refusal = await refusalOf(capstan.jobs.submit({ name: "a", command: ["true"] }, { deadlineMs: 500 }));
  capstan.close();
  expect(refusal.code).toBe("UNAVAILABLE");
});
