/** A user wants a job to end: wherever it stands, it ends, once, and nothing of it goes on. */
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import {
  getJob,
  listEvents,
  readLog,
  refusalOf,
  run,
  seconds,
  sh,
  shortType,
  stepOf,
  submit,
  untilEnded,
  untilPlaced,
} from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";
import { listWorkloads } from "../support/workloads.ts";

const platform = usePlatform();

const cancel = (jobId: string, message = "") => platform().capstan.jobs.cancelJob({ jobId, message });

test("a running job is asked to end, may say a last word, and is cancelled", async () => {
  const { capstan } = platform();
  const job = await submit(capstan, sh(`trap 'echo bye; exit 0' TERM; echo on; sleep 3600 & wait`));
  const executionId = await untilPlaced(capstan, job);
  await eventually(async () => expect((await readLog(capstan, executionId)).stdout).toBe("on\n"));
  const { job: asked } = await cancel(job.id, "not needed any more");
  expect(asked).toMatchObject({ state: "JOB_STATE_CANCELLING", reason: "REASON_CANCELLED_BY_USER" });
  const ended = await untilEnded(capstan, job);
  expect(ended).toMatchObject({
    state: "JOB_STATE_CANCELLED",
    reason: "REASON_CANCELLED_BY_USER",
    message: "not needed any more",
    steps: [{ state: "STEP_STATE_CANCELLED" }],
  });
  expect((await readLog(capstan, executionId)).stdout).toBe("on\nbye\n");
  expect((await listEvents(capstan, job.id)).map(shortType)).toEqual([
    "job.submitted",
    "job.started",
    "job.cancelling",
    "job.cancelled",
  ]);
});

test("a job that does not listen is killed after its grace, with everything below it, whatever it did to hide", async () => {
  const { capstan, engine } = platform();
  const deaf = `trap '' TERM; setsid sleep 3601 & (setsid sh -c 'sleep 3602 & sleep 3603' &) ; sleep 3604`;
  const job = await submit(capstan, sh(deaf, { stopGrace: seconds(0.5) }));
  const executionId = await untilPlaced(capstan, job);
  await cancel(job.id);
  expect(await untilEnded(capstan, job)).toMatchObject({ state: "JOB_STATE_CANCELLED" });
  const left = (await listWorkloads(engine)).filter((workload) => workload.executionId === executionId);
  expect(left).toEqual([]);
});

test("a job that waits for a place is cancelled without ever running", async () => {
  const { capstan } = platform();
  const job = await submit(capstan, { command: ["true"], placement: { provider: "no-such-provider" } });
  await eventually(async () => {
    expect(stepOf(await getJob(capstan, job.id)).reason).toBe("REASON_NO_PROVIDER_MATCHES");
  });
  await cancel(job.id);
  const ended = await untilEnded(capstan, job);
  expect(ended).toMatchObject({ state: "JOB_STATE_CANCELLED" });
  expect(ended.startTime).toBeUndefined();
});

test("a job whose time has not come is cancelled at once", async () => {
  const { capstan } = platform();
  const job = await submit(capstan, { command: ["true"] }, { notBefore: new Date(Date.now() + 3_600_000) });
  const { job: cancelled } = await cancel(job.id);
  expect(cancelled).toMatchObject({ state: "JOB_STATE_CANCELLED", reason: "REASON_CANCELLED_BY_USER" });
});

test("a job that was just submitted is cancelled or finished, and nothing in between", async () => {
  const { capstan } = platform();
  const jobs = await Promise.all(
    Array.from({ length: 40 }, () => submit(capstan, sh("sleep 0.2", { stopGrace: seconds(1) }))),
  );
  await Promise.all(jobs.map(({ id }) => cancel(id).catch(() => {})));
  const ended = await Promise.all(jobs.map((job) => untilEnded(capstan, job)));
  expect(
    new Set(ended.map(({ state }) => state)).difference(new Set(["JOB_STATE_CANCELLED", "JOB_STATE_SUCCEEDED"])).size,
  ).toBe(0);
});

test("cancelling twice is cancelling once", async () => {
  const { capstan } = platform();
  const job = await submit(capstan, { command: ["sleep", "3600"], stopGrace: seconds(1) });
  await untilPlaced(capstan, job);
  const answers = await Promise.all([cancel(job.id, "first"), cancel(job.id, "second"), cancel(job.id, "third")]);
  for (const { job: asked } of answers) expect(asked?.state).toMatch(/JOB_STATE_CANCELL(ING|ED)/);
  await untilEnded(capstan, job);
  const { job: after } = await cancel(job.id, "much later");
  expect(after?.state).toBe("JOB_STATE_CANCELLED");
  expect(after?.message).not.toBe("much later");
  const types = (await listEvents(capstan, job.id)).map(shortType);
  expect(types.filter((type) => type === "job.cancelling")).toHaveLength(1);
});

test("a job that has succeeded cannot be cancelled, and is told so", async () => {
  const { capstan } = platform();
  const job = await run(capstan, { command: ["true"] });
  expect(await refusalOf(cancel(job.id))).toMatchObject({
    code: "FAILED_PRECONDITION",
    reason: "JOB_HAS_ENDED",
    message: expect.stringContaining("SUCCEEDED"),
  });
  expect((await getJob(capstan, job.id)).state).toBe("JOB_STATE_SUCCEEDED");
});
