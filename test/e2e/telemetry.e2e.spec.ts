/** What an operator sees from outside: one trace for each job, and figures for Prometheus. */
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readSubject } from "../support/broker.ts";
import { tableAfter } from "../support/documents.ts";
import { eventually } from "../support/eventually.ts";
import { requestOf, run, seconds, sh, stepOf, submit, untilEnded, untilPlaced } from "../support/jobs.ts";
import { startTestNats, type TestNats } from "../support/nats.ts";
import { type OtlpCollector, type Span, startOtlpCollector } from "../support/otlpCollector.ts";
import { type Standalone, startStandalone } from "../support/startStandalone.ts";

let nats: TestNats;
let collector: OtlpCollector;
let platform: Standalone;

beforeAll(async () => {
  [nats, collector] = await Promise.all([startTestNats(), startOtlpCollector()]);
  platform = await startStandalone({
    CAPSTAN_NATS_URL: nats.url,
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
  });
});

afterAll(async () => {
  await platform?.stop();
  await Promise.all([collector.close(), nats.release()]);
});

const submitSpan = "capstan.job.v1.JobService/SubmitJob";

/** The trace in which a job ended, once all of it is there. */
async function traceOf({ id }: { readonly id: string }): Promise<readonly Span[]> {
  const { traceId } = await eventually(() => {
    const end = collector.spans.find(({ name, attributes }) => name === "end job" && attributes["capstan.job"] === id);
    return end ?? Promise.reject(new Error("its end is not there"));
  });
  return collector.spans.filter((span) => span.traceId === traceId);
}

const namesOf = (spans: readonly Span[]) => spans.map(({ name }) => name).sort();

// Together, because spans are exported every five seconds.
describe.concurrent("a job's trace", () => {
  test("is its caller's, from submit to end, across services and facts", async () => {
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const metadata = { traceparent: `00-${traceId}-b7ad6b7169203331-01` };
    const { job: accepted } = await platform.capstan.jobs.submitJob(requestOf(sh("sleep 0.1")), { metadata });
    const job = await untilEnded(platform.capstan, { id: accepted?.id ?? "" });

    const spans = await traceOf(job);
    expect(spans[0]?.traceId).toBe(traceId);
    const named = (name: string) => spans.find((span) => span.name === name);
    expect(namesOf(spans)).toEqual([submitSpan, "end job", "execution", "place"]);
    expect(named(submitSpan)?.parentSpanId).toBe("b7ad6b7169203331");
    for (const name of ["place", "execution", "end job"]) {
      expect(named(name)).toMatchObject({
        parentSpanId: named(submitSpan)?.spanId,
        attributes: { "capstan.job": job.id },
      });
    }
    expect(named("end job")?.attributes["capstan.state"]).toBe("SUCCEEDED");
    const { startTime = 0, endTime = 0 } = named("execution") ?? {};
    expect(endTime - startTime).toBeGreaterThan(100);
    expect(named("place")?.startTime).toBeLessThan(startTime);

    const facts = [
      ...(await readSubject(nats.url, "job", `capstan.v1.*.job.*.*.${job.id}`)),
      ...(await readSubject(nats.url, "execution", `capstan.v1.*.execution.*.*.${stepOf(job).executionId}`)),
    ];
    expect(facts).toHaveLength(5);
    for (const { headers } of facts) {
      expect(headers["traceparent"]).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
      expect(headers["ce-traceparent"]).toBe(headers["traceparent"]);
    }
  });

  test("begins with its submit when the caller has none, and is another one for each", async () => {
    const [one, other] = await Promise.all([run(platform.capstan, sh("true")), run(platform.capstan, sh("exit 1"))]);
    const traces = await Promise.all([traceOf(one), traceOf(other)]);
    expect(new Set(traces.flat().map(({ traceId }) => traceId)).size).toBe(2);
    for (const spans of traces) {
      expect(namesOf(spans)).toEqual([submitSpan, "end job", "execution", "place"]);
      expect(spans.find(({ name }) => name === submitSpan)?.parentSpanId).toBeFalsy();
    }
  });

  test("holds every attempt of a job that is repeated", async () => {
    const retry = { maxAttempts: 2, initialBackoff: seconds(0.05) };
    const job = await run(platform.capstan, { ...sh("exit 1"), retry });
    const spans = await traceOf(job);
    expect(namesOf(spans)).toEqual([submitSpan, "end job", "execution", "execution", "place", "place"]);
    const attempts = spans.filter(({ name }) => name === "execution");
    expect(attempts.map(({ attributes }) => Number(attributes["capstan.attempt"])).sort()).toEqual([1, 2]);
  });
});

/** The figure of a metric with these labels among others; null if there is none. */
function figure(metrics: string, name: string, labels: Readonly<Record<string, string>> = {}): number | null {
  const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
  const line = metrics
    .split("\n")
    .find(
      (candidate) => new RegExp(`^${name}[{ ]`).test(candidate) && wanted.every((label) => candidate.includes(label)),
    );
  return line === undefined ? null : Number(line.slice(line.lastIndexOf(" ") + 1));
}

async function read(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
  const value = figure(await platform.scrape(), name, labels);
  if (value === null) throw new Error(`there is no ${name} with ${JSON.stringify(labels)}`);
  return value;
}

const contexts = ["job", "provider", "execution", "orchestrator"];

describe("/metrics", () => {
  test("counts calls, jobs, executions and facts, and how long jobs waited for their place", async () => {
    const labels = ["capstan_jobs_ended_total", { state: "SUCCEEDED", reason: "UNSPECIFIED" }] as const;
    const endedBefore = await read(...labels);
    const waitsBefore = await read("capstan_queue_wait_seconds_count", { kind: "PROCESS" });
    for (let count = 0; count < 3; count += 1) await run(platform.capstan, sh("true"));
    await eventually(async () => expect(await read(...labels)).toBe(endedBefore + 3));
    const metrics = await platform.scrape();
    expect(figure(metrics, "capstan_queue_wait_seconds_count", { kind: "PROCESS" })).toBe(waitsBefore + 3);
    expect(figure(metrics, "capstan_queue_wait_seconds_bucket", { kind: "PROCESS", le: "2.5" })).toBeGreaterThan(0);
    const submits = { service: "capstan.job.v1.JobService", method: "SubmitJob", code: "OK" };
    expect(figure(metrics, "rpc_server_duration_count", submits)).toBeGreaterThanOrEqual(3);
    expect(figure(metrics, "capstan_execution_ends_total", { state: "SUCCEEDED" })).toBeGreaterThanOrEqual(3);
    expect(figure(metrics, "capstan_facts_published_total", { context: "job", acknowledged: "true" })).toBeGreaterThan(
      8,
    );
    expect(figure(metrics, "capstan_facts_consumed_total", { durable: "orchestrator-job" })).toBeGreaterThan(8);
  });

  test("has nothing that docs/operating.md does not explain", async () => {
    const page = await readFile(new URL("../../docs/operating.md", import.meta.url), "utf8");
    const explained = tableAfter(page, "## Metrics").flatMap(([names = ""]) => names.split(", "));
    const told = [...(await platform.scrape()).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(told.filter((name = "") => !explained.includes(name))).toEqual(["target_info"]);
  });

  test("tells the jobs and sagas that live, by where they stand", async () => {
    const running = await submit(platform.capstan, sh("sleep 60"));
    const blocked = await submit(platform.capstan, sh("true"), { notBefore: new Date(Date.now() + 3_600_000) });
    await untilPlaced(platform.capstan, running);
    const metrics = await platform.scrape();
    const live = (state: string) => figure(metrics, "capstan_jobs_live", { state });
    expect([live("PENDING"), live("RUNNING"), live("CANCELLING")]).toEqual([1, 1, 0]);
    const stages = ["WAITING", "RESERVED", "STARTED", "SETTLING", "COMPENSATING", "PARKED"];
    expect(stages.map((stage) => figure(metrics, "capstan_sagas_live", { stage }))).toEqual([0, 0, 1, 0, 0, 0]);
    for (const { id } of [running, blocked]) {
      await platform.capstan.jobs.cancelJob({ jobId: id, message: "" });
      await untilEnded(platform.capstan, { id });
    }
    await eventually(async () => {
      expect(
        (await read("capstan_jobs_live", { state: "PENDING" })) +
          (await read("capstan_jobs_live", { state: "RUNNING" })),
      ).toBe(0);
    });
  });

  test("tells what is not yet published and not yet consumed, also while NATS is away", async () => {
    const isAtRest = async () => {
      const metrics = await platform.scrape();
      for (const context of contexts) expect(figure(metrics, "capstan_outbox_age_seconds", { context })).toBe(0);
      for (const context of ["job", "execution"]) {
        const durable = `orchestrator-${context}`;
        expect(figure(metrics, "capstan_consumer_lag", { context, durable })).toBe(0);
      }
    };
    await eventually(isAtRest);
    await nats.kill();
    const job = await submit(platform.capstan, sh("true"));
    await eventually(async () =>
      expect(await read("capstan_outbox_age_seconds", { context: "job" })).toBeGreaterThan(0.5),
    );
    const metrics = await platform.scrape();
    expect(figure(metrics, "capstan_outbox_age_seconds", { context: "provider" })).toBe(0);
    // Nobody knows, and the last figure would pass for the present one.
    expect(figure(metrics, "capstan_consumer_lag")).toBeNaN();
    await nats.restart();
    await untilEnded(platform.capstan, job);
    await eventually(isAtRest);
  });
});
