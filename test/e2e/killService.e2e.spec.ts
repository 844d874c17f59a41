/** Any service is killed in the middle of a thousand jobs: each job still ends exactly once, and nothing is left behind. */
import { DomainError } from "@capstan/errors";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { expectNoViolations } from "../support/invariants.ts";
import {
  countEnded,
  getJob,
  requestOf,
  run,
  seconds,
  sh,
  stepOf,
  submit,
  submitBatch,
  untilEnded,
  untilPlaced,
} from "../support/jobs.ts";
import { serviceNames } from "../support/serviceProcess.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();

const size = 1_000;

async function untilHalfway(batch: string): Promise<void> {
  await eventually(async () => {
    const ended = [...(await countEnded(platform(), batch)).values()].reduce((sum, count) => sum + count, 0);
    expect(ended).toBeGreaterThan(size / 5);
  }, 30_000);
}

test.each(
  serviceNames,
)("the %s service is killed amid a thousand jobs and started again: all succeed", async (name) => {
  const { capstan, services } = platform();
  const acknowledged = await submitBatch(capstan, name, size);
  await untilHalfway(name);
  expect(await services[name].kill("SIGKILL")).toBe("SIGKILL");
  await services[name].start();
  await expectNoViolations(platform(), { acknowledged, timeoutMs: 90_000 });
  expect(await countEnded(platform(), name)).toEqual(new Map([["SUCCEEDED", size]]));
}, 150_000);

test("all four services are killed at once amid a thousand jobs and started again: all succeed", async () => {
  const { capstan, services } = platform();
  const acknowledged = await submitBatch(capstan, "all", size);
  await untilHalfway("all");
  await Promise.all(serviceNames.map((name) => services[name].kill("SIGKILL")));
  await Promise.all(serviceNames.map((name) => services[name].start()));
  await expectNoViolations(platform(), { acknowledged, timeoutMs: 90_000 });
  expect(await countEnded(platform(), "all")).toEqual(new Map([["SUCCEEDED", size]]));
}, 150_000);

test("submits that are repeated with their key until they are answered make one job each, also while the job service is killed", async () => {
  const { capstan, services } = platform();
  const ids = new Map<string, Set<string>>();
  async function submitStubbornly(key: string): Promise<void> {
    const request = requestOf({ command: ["true"] }, { labels: { batch: "keys" } }, { idempotencyKey: key });
    const { job } = await eventually(() => capstan.jobs.submitJob(request, { deadlineMs: 2_000 }), 30_000);
    ids.set(key, (ids.get(key) ?? new Set()).add(job?.id ?? ""));
  }
  const keys = Array.from({ length: 300 }, (_, index) => `key ${index}`);
  const submitted = Promise.all(keys.map(submitStubbornly));
  await services.job.restart("SIGKILL");
  await submitted;
  await Promise.all(keys.map(submitStubbornly));
  for (const found of ids.values()) expect(found.size).toBe(1);
  const acknowledged = [...ids.values()].flatMap((found) => [...found]);
  await expectNoViolations(platform(), { acknowledged, timeoutMs: 90_000 });
  expect(await countEnded(platform(), "keys")).toEqual(new Map([["SUCCEEDED", 300]]));
}, 120_000);

test("a process dies with the execution service, and its job, which may not be repeated, says that it was lost", async () => {
  const { capstan, services } = platform();
  const job = await submit(capstan, sh("sleep 3600"));
  await untilPlaced(capstan, job);
  await services.execution.restart("SIGKILL");
  expect(await untilEnded(capstan, job)).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_LOST" });
});

test("a service that is told to stop drains, and what it held is told as it ended", async () => {
  const { capstan, services } = platform();
  const job = await submit(
    capstan,
    sh("sleep 3600", { stopGrace: seconds(1), retry: { maxAttempts: 2, initialBackoff: seconds(60) } }),
  );
  await untilPlaced(capstan, job);
  expect(await services.execution.kill("SIGTERM")).toBe(0);
  await services.execution.start();
  await eventually(async () => {
    expect(stepOf(await getJob(capstan, job.id))).toMatchObject({ state: "STEP_STATE_BACKOFF", reason: "REASON_LOST" });
  });
  await capstan.jobs.cancelJob({ jobId: job.id, message: "" });
  await untilEnded(capstan, job);
});

test("while a service is away its callers are told so at once, and served again when it is back", async () => {
  const { capstan, services } = platform();
  await services.job.kill("SIGKILL");
  const refused = await capstan.jobs.submitJob(requestOf({ command: ["true"] })).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(DomainError);
  expect(refused).toMatchObject({ code: "UNAVAILABLE" });
  await services.job.start();
  const job = await eventually(() => run(capstan, { command: ["true"] }));
  expect(job.state).toBe("JOB_STATE_SUCCEEDED");
});
