/** Workers come, are lost, drain and change their runner: what they had goes on, goes to another, or says why it waits. */
import { connect, type WorkerOptions } from "@capstan/client";
import { describe, expect, onTestFinished, test } from "vitest";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { stepOf } from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";
import { startWorkerProcess } from "../support/workerProcess.ts";

/** A handler that has been called as often as it says, and returns what it is told to. */
function heldHandler() {
  const ends: ((result: unknown) => void)[] = [];
  return {
    handler: () => new Promise<unknown>((resolve) => ends.push(resolve)),
    called: (times: number) => eventually(() => expect(ends).toHaveLength(times)),
    end: (result: unknown) => {
      for (const end of ends) end(result);
    },
  };
}

describe("a worker that is killed", () => {
  const platform = usePlatform({ env: { CAPSTAN_WORKER_LEASE_MS: "3000" } });

  async function attemptsOf(jobId: string) {
    const { executions } = await platform().capstan.executions.listExecutions({
      filter: `job_id = "${jobId}"`,
      pageSize: 100,
      pageToken: "",
    });
    return executions.toSorted((a, b) => a.attempt - b.attempt);
  }

  test("loses what it ran after its lease, and the retry policy has another worker do it", async () => {
    const { capstan, services } = platform();
    const doomed = startWorkerProcess(services.execution.grpcAddress, "doomed");
    const retry = { maxAttempts: 100, initialBackoffMs: 10, multiplier: 1 };
    const job = await capstan.jobs.submit({ name: "hold", handler: "hold", pool: "doomed", retry });
    expect(await doomed.called).toBe(job.id);
    await doomed.kill("SIGKILL");
    const hold = (_input: unknown, { attempt }: { readonly attempt: number }) => attempt;
    const other = await capstan.worker({ pool: "doomed", slots: 1, handlers: { hold } });
    expect(await job.result()).toBeGreaterThan(1);
    const [first] = await attemptsOf(job.id);
    expect(first).toMatchObject({ state: "EXECUTION_STATE_LOST", reason: "REASON_LOST" });
    expect(first?.message).toContain("silent for 3 s");
    await other.stop();
  });

  test("and whose job may not be repeated leaves it failed, and its pool without slots", async () => {
    const { capstan, services } = platform();
    const doomed = startWorkerProcess(services.execution.grpcAddress, "alone");
    const job = await capstan.jobs.submit({ name: "hold", handler: "hold", pool: "alone" });
    await doomed.called;
    await doomed.kill("SIGKILL");
    await expect(job.result()).rejects.toMatchObject({ state: "FAILED", reason: "LOST" });
    await eventually(async () => {
      const { provider } = await capstan.providers.getProvider({ provider: "alone" });
      expect(provider).toMatchObject({ health: "PROVIDER_HEALTH_UNHEALTHY", capacity: { slots: 0 } });
    });
  });
});

describe("workers", () => {
  const platform = usePlatform();

  const workersOf = async (pool: string) => {
    const { workers } = await platform().capstan.workers.listWorkers({
      filter: `pool = "${pool}"`,
      pageSize: 100,
      pageToken: "",
    });
    return workers;
  };

  test("that drain end what they have, take nothing more, and are gone", async () => {
    const { capstan } = platform();
    const { handler: hold, called, end } = heldHandler();
    const first = await capstan.worker({ pool: "draining", slots: 5, handlers: { hold, who: () => "first" } });
    const held = await capstan.jobs.submit({ name: "hold", handler: "hold", pool: "draining" });
    await called(1);
    const stopped = first.stop();
    await eventually(async () => {
      expect(await workersOf("draining")).toMatchObject([{ state: "WORKER_STATE_DRAINING" }]);
    });
    const others = await capstan.jobs.submitMany(
      Array.from({ length: 20 }, () => ({ name: "who", handler: "who", pool: "draining" })),
    );
    const second = await capstan.worker({ pool: "draining", slots: 5, handlers: { who: () => "second" } });
    const results = await Promise.all(others.map(({ job }) => job?.result()));
    expect(results).toEqual(Array.from({ length: 20 }, () => "second"));
    end("done");
    expect(await held.result()).toBe("done");
    await stopped;
    await eventually(async () => {
      expect((await workersOf("draining")).map(({ id }) => id)).toEqual([second.id]);
    });
    await second.stop();
  });

  test("without the handler of a job have it wait, with a reason that names those that are there", async () => {
    const { capstan } = platform();
    const handlers = { resize: () => null, crop: () => null };
    const worker = await capstan.worker({ pool: "media", slots: 1, handlers });
    const job = await capstan.jobs.submit({ name: "rotate", handler: "rotate", pool: "media" });
    await eventually(async () => {
      const step = stepOf(await job.get());
      expect(step).toMatchObject({ state: "STEP_STATE_READY", reason: "REASON_NO_PROVIDER_MATCHES" });
      expect(step.message).toContain('has no worker with the handler "rotate"; it has:');
      for (const name of Object.keys(handlers)) expect(step.message).toContain(`"${name}"`);
    });
    const rotating = await capstan.worker({ pool: "media", slots: 1, handlers: { rotate: () => "rotated" } });
    expect(await job.result()).toBe("rotated");
    await Promise.all([worker.stop(), rotating.stop()]);
  });

  test("get what fits their labels, whatever else is free", async () => {
    const { capstan } = platform();
    const handlersOf = (zone: string) => ({ where: () => zone });
    const start = (zone: string) =>
      capstan.worker({ pool: "zones", slots: 1, labels: { zone }, handlers: handlersOf(zone) });
    const workers = await Promise.all([start("a"), start("b")]);
    const constraints = [{ key: "zone", operator: "LABEL_OPERATOR_EQ" as const, values: ["b"] }];
    const jobs = await capstan.jobs.submitMany(
      Array.from({ length: 20 }, () => ({ name: "where", handler: "where", pool: "zones", constraints })),
    );
    const results = await Promise.all(jobs.map(({ job }) => job?.result()));
    expect(results).toEqual(Array.from({ length: 20 }, () => "b"));
    await Promise.all(workers.map((worker) => worker.stop()));
  });
});

describe("with two runners", () => {
  const platform = usePlatform();

  /** A worker that knows these runners only. */
  async function workAt(addresses: readonly string[], options: WorkerOptions) {
    const capstan = connect({ address: addresses[0] ?? "", addresses: { executions: addresses } });
    onTestFinished(() => capstan.close());
    const worker = await capstan.worker(options);
    onTestFinished(() => worker.stop());
    return worker;
  }

  /** The pid of the runner that a worker is connected to. */
  async function runnerOf(workerId: string): Promise<unknown> {
    const [row] = await queryOnce(
      platform().database.adminUrl,
      "select r.pid from execution.worker w join execution.runner r on r.id = w.runner_id where w.id = $1",
      [workerId],
    );
    return row?.["pid"];
  }

  test("each worker gets its own, whichever runner the jobs come to", async () => {
    const { capstan, services, startReplica } = platform();
    const replica = await startReplica("execution");
    const worker = (address: string, name: string) =>
      workAt([address], { pool: "both", slots: 20, handlers: { [name]: (input: unknown) => [name, input] } });
    await Promise.all([worker(services.execution.grpcAddress, "left"), worker(replica.grpcAddress, "right")]);
    const wanted = Array.from({ length: 200 }, (_, input) => [input % 2 === 0 ? "left" : "right", input] as const);
    const jobs = await capstan.jobs.submitMany(
      wanted.map(([handler, input]) => ({ name: "side", handler, pool: "both", input })),
    );
    expect(await Promise.all(jobs.map(({ job }) => job?.result()))).toEqual(wanted);
  });

  test("a worker whose runner is killed goes on at the other, with what it has", async () => {
    const { capstan, services, startReplica } = platform();
    const replica = await startReplica("execution");
    const runners = [services.execution, replica];
    const { handler: hold, called, end } = heldHandler();
    const worker = await workAt(
      runners.map(({ grpcAddress }) => grpcAddress),
      { pool: "moving", slots: 1, handlers: { hold } },
    );
    const job = await capstan.jobs.submit({ name: "hold", handler: "hold", pool: "moving" });
    await called(1);
    const pid = await runnerOf(worker.id);
    const killed = runners.find((runner) => runner.pid === pid);
    await killed?.kill("SIGKILL");
    await eventually(async () => {
      const now = await runnerOf(worker.id);
      expect(runners.map((runner) => runner.pid)).toContain(now);
      expect(now).not.toBe(pid);
    });
    end("moved");
    expect(await job.result()).toBe("moved");
    await called(1);
    await killed?.start();
  });
});
