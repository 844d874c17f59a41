/** Handlers on a worker of the SDK, with the whole platform behind it: what they give back, and what survives. */
import type { HandlerContext } from "@capstan/client";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();
const kib256 = 256 * 1024;

test("an input and a result of 256 KiB work, and one byte more is refused with the limit", async () => {
  const { capstan } = platform();
  const handlers = { echo: (input: unknown) => input, tooMuch: () => "x".repeat(kib256 - 1) };
  const worker = await capstan.worker({ pool: "sizes", slots: 4, handlers });
  const largest = "x".repeat(kib256 - 2);
  const job = { name: "large", handler: "echo", pool: "sizes" };
  const echoed = await capstan.jobs.submit({ ...job, input: largest });
  expect(await echoed.result()).toBe(largest);

  await expect(capstan.jobs.submit({ ...job, input: `${largest}x` })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    fields: [{ field: "input", description: `has ${kib256 + 1} bytes as JSON; the limit is ${kib256}` }],
  });
  const tooMuch = await capstan.jobs.submit({ ...job, handler: "tooMuch" });
  await expect(tooMuch.result()).rejects.toMatchObject({
    name: "JobFailed",
    reason: "NON_RETRYABLE",
    message: expect.stringContaining(`the limit is ${kib256}`),
  });
  await worker.stop();
});

test("a thousand jobs of one worker each give back their own", async () => {
  const { capstan } = platform();
  const worker = await capstan.worker({ pool: "many", slots: 200, handlers: { double: (input) => input * 2 } });
  const inputs = Array.from({ length: 1_000 }, (_, index) => index);
  const outcomes = await capstan.jobs.submitMany(
    inputs.map((input) => ({ name: "double", handler: "double", pool: "many", input })),
  );
  const results = await Promise.all(outcomes.map(({ job }) => job?.result()));
  expect(results).toEqual(inputs.map((input) => input * 2));
  await worker.stop();
});

test("what a handler gives back survives that its runner is killed and started again meanwhile", async () => {
  const { capstan, services } = platform();
  let calls = 0;
  let end = () => {};
  const hold = () =>
    new Promise<string>((resolve) => {
      calls += 1;
      end = () => resolve("still here");
    });
  const worker = await capstan.worker({ pool: "held", slots: 1, handlers: { hold } });
  const job = await capstan.jobs.submit({ name: "hold", handler: "hold", pool: "held" });
  await eventually(() => expect(calls).toBe(1));
  await services.execution.kill("SIGKILL");
  end();
  await services.execution.start();
  expect(await job.result()).toBe("still here");
  expect(calls).toBe(1);
  await worker.stop();
});

test("a handler learns that its job was cancelled, and the log and progress of it are kept", async () => {
  const { capstan } = platform();
  const reasons: unknown[] = [];
  const handlers = {
    wait: (_input: unknown, { signal, log, progress }: HandlerContext) =>
      new Promise<never>((_, reject) => {
        log("begun");
        progress(0.5);
        signal.addEventListener("abort", () => {
          reasons.push(signal.reason);
          reject(signal.reason);
        });
      }),
  };
  const worker = await capstan.worker({ pool: "cancelled", slots: 1, handlers });
  const job = await capstan.jobs.submit({ name: "wait", handler: "wait", pool: "cancelled" });
  await eventually(async () => expect((await job.get()).state).toBe("JOB_STATE_RUNNING"));
  const { executionId = "" } = (await job.get()).steps[0] ?? {};
  await job.cancel({ message: "enough" });
  await expect(job.result()).rejects.toMatchObject({ state: "CANCELLED", reason: "CANCELLED_BY_USER" });
  expect(reasons).toMatchObject([{ name: "Stopped", reason: "CANCELLED_BY_USER", message: "enough" }]);
  let text = "";
  for await (const { part } of capstan.executions.tailLogs({ executionId, afterSequence: 0, follow: true })) {
    if (part?.$case === "chunk") text += part.value.data.toString();
  }
  expect(text).toBe("begun\n");
  await worker.stop();
});

test("a pool whose name belongs to another provider is refused", async () => {
  const { capstan } = platform();
  const worker = capstan.worker({ pool: "local", slots: 1, handlers: { noop: () => null } });
  await expect(worker).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
});
