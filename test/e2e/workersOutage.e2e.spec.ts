/** Handlers run on two workers while one part of the platform after the other is killed: each job ends once, with its own result. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "@capstan/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { expectNoViolations } from "../support/invariants.ts";
import { countEnded } from "../support/jobs.ts";
import { serviceNames } from "../support/serviceProcess.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform({ ownPostgres: true, env: { CAPSTAN_WORKER_LEASE_MS: "15000" } });

const size = 400;
const handlers = {
  square: async (input: number) => {
    await sleep(input % 20);
    return input * input;
  },
};
let workers: readonly Worker[] = [];

beforeAll(async () => {
  const start = () => platform().capstan.worker({ pool: "squares", slots: 10, handlers });
  workers = await Promise.all([start(), start()]);
});

afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
});

/** Submits them; an attempt that was lost with its worker is repeated. */
async function submitSquares(batch: string) {
  const retry = { maxAttempts: 100, initialBackoffMs: 100, multiplier: 1 };
  const outcomes = await platform().capstan.jobs.submitMany(
    Array.from({ length: size }, (_, input) => ({
      ...{ name: batch, labels: { batch }, handler: "square", pool: "squares" },
      ...{ input, retry },
    })),
  );
  return outcomes.map(({ job, refusal }) => {
    if (job === null) throw refusal;
    return job;
  });
}

async function untilSomeHaveEnded(batch: string): Promise<void> {
  await eventually(async () =>
    expect((await countEnded(platform(), batch)).get("SUCCEEDED")).toBeGreaterThan(size / 10),
  );
}

async function expectSquares(batch: string, harm: () => Promise<unknown>): Promise<void> {
  const jobs = await submitSquares(batch);
  const results = Promise.all(jobs.map((job) => job.result<number>({ deadlineMs: 120_000 })));
  await untilSomeHaveEnded(batch);
  await harm();
  expect(await results).toEqual(jobs.map((_, input) => input * input));
  await expectNoViolations(platform(), { acknowledged: jobs.map(({ id }) => id), timeoutMs: 90_000 });
  expect(await countEnded(platform(), batch)).toEqual(new Map([["SUCCEEDED", size]]));
}

test.each(serviceNames)("the %s service is killed and started again", async (name) => {
  const { services } = platform();
  await expectSquares(name, () => services[name].restart("SIGKILL"));
}, 240_000);

test("all services are killed at once and started again", async () => {
  const { services } = platform();
  await expectSquares("all", async () => {
    await Promise.all(serviceNames.map((name) => services[name].kill("SIGKILL")));
    await Promise.all(serviceNames.map((name) => services[name].start()));
  });
}, 240_000);

test("the execution service stops in order, and another process of it takes its place", async () => {
  const { services } = platform();
  await expectSquares("order", () => services.execution.restart("SIGTERM"));
}, 240_000);

test("NATS is killed and started again", async () => {
  const { nats } = platform();
  await expectSquares("nats", async () => {
    await nats.kill();
    await nats.restart();
  });
}, 240_000);

test("Postgres is killed and started again", async () => {
  const { postgres } = platform();
  await expectSquares("postgres", async () => {
    await postgres?.kill();
    await postgres?.restart();
  });
}, 240_000);

test("no worker was forgotten on the way", async () => {
  await eventually(async () => {
    const rows = await queryOnce(platform().database.adminUrl, "select id from execution.worker where is_connected");
    expect(rows.map(({ id }) => id).sort()).toEqual(workers.map(({ id }) => id).sort());
  });
});
