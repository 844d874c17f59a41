/**
 * `npm run demo`: the platform starts by itself in a directory of its own and shows what it does with real jobs. Every line is read
 * from the public API or from NATS; nothing is scripted, so a figure that is bad is shown as bad.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Capstan, connect } from "@capstan/client";
import type { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { createApp, createLogger, readConfig } from "@capstan/service";
import { connect as connectNats } from "@nats-io/transport-node";
import { configSchema } from "./config.ts";
import { registerDefaultProviders } from "./defaultProviders.ts";
import { ms, progress, say, title } from "./demoScreen.ts";
import { claimPort } from "./loopbackPort.ts";
import { openPlatform } from "./openPlatform.ts";

const batchSize = 300;
const directory = await mkdtemp(join(tmpdir(), "capstan-demo-"));
const app = createApp("demo", createLogger("demo", "error"));
let exitCode = 0;
const stopEarly = () => void close(130);
process.on("SIGINT", stopEarly);
process.on("SIGTERM", stopEarly);

try {
  const start = performance.now();
  title("Starting Postgres, NATS and the services");
  const [grpc, health] = [await claimPort(0, "gRPC"), await claimPort(0, "health")];
  const platform = await openPlatform(
    app,
    readConfig(configSchema, {
      CAPSTAN_DATA_DIR: directory,
      CAPSTAN_POSTGRES_PORT: "0",
      CAPSTAN_NATS_PORT: "0",
      CAPSTAN_GRPC_ADDRESS: `127.0.0.1:${grpc}`,
      CAPSTAN_HEALTH_ADDRESS: `127.0.0.1:${health}`,
      CAPSTAN_HTTP_ADDRESS: "127.0.0.1:0",
      CAPSTAN_LOG_LEVEL: "error",
    }),
  );
  await registerDefaultProviders(platform.grpcAddress);
  const capstan = connect({ address: platform.grpcAddress });
  app.onStop(() => capstan.close());
  const nats = await connectNats({ servers: platform.natsUrl });
  app.onStop(() => nats.close());
  let facts = 0;
  nats.subscribe("capstan.v1.>", {
    callback: () => {
      facts += 1;
    },
  });
  say(`ready after ${ms(performance.now() - start)}: gRPC ${platform.grpcAddress}, NATS ${platform.natsUrl}`);

  title("A job that succeeds and gives back a result");
  const result = await tell(capstan, {
    name: "count-words",
    steps: [
      { script: { content: 'echo "counting"; echo "CAPSTAN_OUTPUT={\\"words\\": $(echo one two three | wc -w)}"' } },
    ],
  });
  say(`result: ${JSON.stringify(result.result)}`);

  title("A job that fails twice and succeeds at its third attempt");
  await tell(capstan, {
    name: "flaky",
    steps: [
      {
        script: { content: 'echo "attempt $CAPSTAN_ATTEMPT"; test "$CAPSTAN_ATTEMPT" -ge 3' },
        retry: { maxAttempts: 5, initialBackoff: "0.3s" },
      },
    ],
  });

  title("A job that takes longer than it may");
  await tell(capstan, { name: "too-slow", steps: [{ command: ["sleep", "60"], runTimeout: "0.5s", stopGrace: "1s" }] });

  title("A job that is cancelled while it runs");
  await tell(capstan, { name: "cancelled", steps: [{ command: ["sleep", "60"], stopGrace: "1s" }] }, async (job) => {
    await capstan.jobs.cancelJob({ jobId: job.id, message: "the demo has seen enough" });
  });

  title(`A batch of ${batchSize} short jobs`);
  await runBatch(capstan);

  title("A container with limits");
  await runContainer(capstan);

  title("Summary");
  for (const line of await summary(capstan)) say(line);
  say(`${facts} facts were published on NATS`);
} catch (error) {
  console.error(error);
  exitCode = 1;
}
await close(exitCode);

async function close(code: number): Promise<never> {
  await app.stop();
  await rm(directory, { recursive: true, force: true });
  process.exit(code);
}

async function submit(capstan: Capstan, spec: object): Promise<Job> {
  const { job } = await capstan.jobs.submitJob({
    spec: JobSpec.fromJSON(spec),
    idempotencyKey: "",
    requestId: "",
    validateOnly: false,
    template: undefined,
  });
  if (job === undefined) throw new Error("the answer has no job");
  return job;
}

/** Submits a job and shows its facts and its log as they come, until it has ended. */
async function tell(capstan: Capstan, spec: object, onRunning?: (job: Job) => Promise<void>): Promise<Job> {
  const job = await submit(capstan, spec);
  const begin = job.createTime?.getTime() ?? 0;
  for await (const { event } of capstan.jobs.watchJob({ jobId: job.id, afterSequence: 0 })) {
    if (event === undefined) continue;
    const [change] = (event.data?.["steps"] ?? []) as { attempt?: number; message?: string; executionId?: string }[];
    const after = ms((event.time?.getTime() ?? begin) - begin);
    const name = event.type.slice("capstan.job.v1.".length);
    say(`${after.padStart(8)}  ${name.padEnd(16)} attempt ${change?.attempt ?? 1}  ${change?.message ?? ""}`.trimEnd());
    if (name.endsWith(".started") && onRunning !== undefined) await onRunning(job);
    else if (change?.executionId && !name.endsWith(".started")) await showLog(capstan, change.executionId);
  }
  const { job: ended } = await capstan.jobs.getJob({ jobId: job.id });
  if (ended === undefined) throw new Error("the job is gone");
  say(`${ended.state.slice("JOB_STATE_".length)}${ended.message === "" ? "" : `: ${ended.message}`}`);
  return ended;
}

async function showLog(capstan: Capstan, executionId: string): Promise<void> {
  for await (const { part } of capstan.executions.tailLogs({ executionId, afterSequence: 0, follow: true })) {
    if (part?.$case !== "chunk") continue;
    for (const line of Buffer.from(part.value.data).toString().trimEnd().split("\n")) say(`          | ${line}`);
  }
}

/** Submits a batch in one call and follows it by asking how many have ended. */
async function runBatch(capstan: Capstan): Promise<void> {
  const label = { batch: "demo" };
  const spec = JobSpec.fromJSON({ name: "short", labels: label, steps: [{ command: ["true"] }] });
  const requests = Array.from({ length: batchSize }, () => ({
    spec,
    idempotencyKey: "",
    requestId: "",
    validateOnly: false,
    template: undefined,
  }));
  const start = performance.now();
  const { results } = await capstan.jobs.submitJobs({ requests }, { deadlineMs: 30_000 });
  const accepted = results.filter(({ outcome }) => outcome?.$case === "accepted").length;
  say(`${accepted} of ${batchSize} accepted after ${ms(performance.now() - start)}`);
  for (let ended = 0; ended < accepted; ) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const filter = 'labels.batch = "demo" AND state = SUCCEEDED';
    const page = await capstan.jobs.listJobs({ pageSize: 1_000, pageToken: "", filter, orderBy: "" });
    ended = page.jobs.length;
    progress(ended, accepted, performance.now() - start);
  }
  const seconds = (performance.now() - start) / 1_000;
  say(
    `${accepted} jobs in ${seconds.toFixed(2)} s: ${(accepted / seconds).toFixed(0)} jobs/s, each a process of its own`,
  );
}

async function runContainer(capstan: Capstan): Promise<void> {
  const { provider } = await capstan.providers.getProvider({ provider: "docker" });
  if (provider?.health !== "PROVIDER_HEALTH_HEALTHY") {
    say(`left out: no Docker engine answers (${provider?.healthMessage || "not probed yet"})`);
    return;
  }
  await tell(capstan, {
    name: "contained",
    steps: [
      {
        image: "busybox",
        command: ["sh", "-c", "id -u; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max; touch /x || true"],
        resources: { cpuMillis: 500, memoryMib: 64 },
      },
    ],
  });
}

async function summary(capstan: Capstan): Promise<readonly string[]> {
  const { jobs } = await capstan.jobs.listJobs({ pageSize: 1_000, pageToken: "", filter: "", orderBy: "" });
  const byState = Map.groupBy(jobs, ({ state }) => state.slice("JOB_STATE_".length));
  const { capacity, reserved } = await capstan.providers.getProviderStats({ provider: "local" });
  return [
    ...[...byState].map(([state, some]) => `${String(some.length).padStart(5)} jobs ${state}`),
    `${reserved?.slots ?? 0} of ${capacity?.slots ?? 0} slots of the provider local are still reserved`,
  ];
}
