/** The load: jobs submitted and their facts counted, as any client could do it. */
import type { Capstan } from "@capstan/client";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { NatsConnection } from "@nats-io/transport-node";

export interface Throughput {
  readonly jobsPerSecond: number;
}

const ends = ["succeeded", "failed", "cancelled", "timed_out"];

/** Submits `total` jobs in batches and waits until a terminal fact of each was published. */
export async function runJobs(
  capstan: Capstan,
  nats: NatsConnection,
  total: number,
  step: object,
): Promise<Throughput> {
  const pending = new Set<string>();
  const endedEarly = new Set<string>();
  let isSubmitted = false;
  const done = Promise.withResolvers<void>();
  const subscriptions = ends.map((event) =>
    nats.subscribe(`capstan.v1.*.job.job.${event}.*`, {
      callback: (_, { subject }) => {
        const id = subject.slice(subject.lastIndexOf(".") + 1);
        if (!pending.delete(id)) endedEarly.add(id);
        if (isSubmitted && pending.size === 0) done.resolve();
      },
    }),
  );
  await nats.flush();
  const start = performance.now();
  for (let left = total; left > 0; left -= 500) {
    const requests = Array.from({ length: Math.min(left, 500) }, () => aRequest(step));
    const { results } = await capstan.jobs.submitJobs({ requests }, { deadlineMs: 30_000 });
    for (const { outcome } of results) {
      if (outcome?.$case !== "accepted") throw new Error(`refused: ${outcome?.value.message}`);
      if (!endedEarly.delete(outcome.value.jobId)) pending.add(outcome.value.jobId);
    }
  }
  isSubmitted = true;
  if (pending.size > 0) await done.promise;
  const seconds = (performance.now() - start) / 1_000;
  for (const subscription of subscriptions) subscription.unsubscribe();
  return { jobsPerSecond: total / seconds };
}

function aRequest(step: object, fields: object = {}) {
  const spec = JobSpec.fromJSON({ name: "bench", steps: [step], ...fields });
  return { spec, idempotencyKey: "", requestId: "", validateOnly: false };
}

const later = { notBefore: new Date(Date.now() + 86_400_000).toISOString() };

/** Jobs accepted per second, one a call with 64 calls under way, of jobs that do not run. */
export async function submitSingle(capstan: Capstan, total: number): Promise<number> {
  let left = total;
  const start = performance.now();
  const lane = async () => {
    while (left > 0) {
      left -= 1;
      await capstan.jobs.submitJob(aRequest({ command: ["true"] }, later));
    }
  };
  await Promise.all(Array.from({ length: 64 }, lane));
  return (total / (performance.now() - start)) * 1_000;
}

/** Jobs accepted per second, 1,000 a call with two calls under way, of jobs that do not run. */
export async function submitBatches(capstan: Capstan, calls: number): Promise<number> {
  const requests = Array.from({ length: 1_000 }, () => aRequest({ command: ["true"] }, later));
  let left = calls;
  const start = performance.now();
  const lane = async () => {
    while (left > 0) {
      left -= 1;
      await capstan.jobs.submitJobs({ requests }, { deadlineMs: 30_000 });
    }
  };
  await Promise.all([lane(), lane()]);
  return ((calls * 1_000) / (performance.now() - start)) * 1_000;
}

/** Milliseconds from the call to the start of the process, for jobs that come at a steady rate. */
export async function latencies(
  capstan: Capstan,
  nats: NatsConnection,
  perSecond: number,
  seconds: number,
): Promise<readonly number[]> {
  const called = new Map<string, number>();
  const started = new Map<string, number>();
  const subscription = nats.subscribe("capstan.v1.*.execution.execution.started.*", {
    callback: (_, message) => {
      const { jobId, time } = message.json<{ jobId: string; time: string }>();
      started.set(jobId, Date.parse(time));
    },
  });
  await nats.flush();
  const calls: Promise<void>[] = [];
  for (let n = 0; n < perSecond * seconds; n += 1) {
    const due = n * (1_000 / perSecond);
    calls.push(
      new Promise((resolve) => setTimeout(resolve, due)).then(async () => {
        const at = Date.now();
        const { job } = await capstan.jobs.submitJob(aRequest({ command: ["true"] }));
        called.set(job?.id ?? "", at);
      }),
    );
  }
  await Promise.all(calls);
  const limit = performance.now() + 10_000;
  while (started.size < called.size && performance.now() < limit)
    await new Promise((resolve) => setTimeout(resolve, 20));
  subscription.unsubscribe();
  return [...called].flatMap(([id, at]) => {
    const time = started.get(id);
    return time === undefined ? [] : [time - at];
  });
}
