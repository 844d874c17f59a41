/** Queues as a user of the command sees them, against a platform in one process: who waits is told why, and what would change it. */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bareEnv } from "../support/bareEnv.ts";
import { eventually } from "../support/eventually.ts";
import { getJob, type JobPart, refusalOf, run, sh, stepOf, submit, untilEnded, untilPlaced } from "../support/jobs.ts";
import { type Standalone, startStandalone } from "../support/startStandalone.ts";

const cli = fileURLToPath(new URL("../../libs/cli/bin/capstan.js", import.meta.url));

let standalone: Standalone;

beforeAll(async () => {
  standalone = await startStandalone();
});

afterAll(() => standalone?.stop());

function capstan(args: readonly string[], input = ""): Promise<{ exitCode: unknown; stdout: string; stderr: string }> {
  const env = { ...bareEnv, CAPSTAN_ADDRESS: standalone.address };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [cli, ...args], { env }, (error, stdout, stderr) =>
      resolve({ exitCode: error?.code ?? 0, stdout, stderr }),
    );
    child.stdin?.end(input);
  });
}

const start = (job: JobPart, line = "true") => submit(standalone.capstan, sh(line), job);
const stop = (jobId: string) => standalone.capstan.jobs.cancelJob({ jobId, message: "" });

async function untilWaits(jobId: string, reason: string): Promise<string> {
  return eventually(async () => {
    const step = stepOf(await getJob(standalone.capstan, jobId));
    expect(step.reason).toBe(`REASON_${reason}`);
    return step.message;
  });
}

test("a paused queue begins nothing, explain says so, and a resume lets it go on", async () => {
  expect((await capstan(["queue", "pause", "nightly", "-m", "the store moves"])).exitCode).toBe(0);
  const job = await start({ queue: "nightly" });
  expect(await untilWaits(job.id, "QUEUE_PAUSED")).toBe("queue nightly is paused: the store moves");
  const { stdout } = await capstan(["explain", job.id]);
  expect(stdout).toContain("step main is WAITING");
  expect(stdout).toContain("QUEUE_PAUSED: queue nightly is paused: the store moves");
  expect(stdout).toContain("capstan queue resume nightly");
  const [lines = "", history] = stdout.split("\n\n");
  expect(lines.split("\n").length).toBeLessThanOrEqual(6);
  expect(history).toContain("job.submitted");
  expect((await capstan(["queue", "list"])).stdout).toMatch(/nightly\s+PAUSED\s+1/);
  expect((await capstan(["queue", "resume", "nightly"])).exitCode).toBe(0);
  expect(await untilEnded(standalone.capstan, job)).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
});

test("with a limit of one per key three jobs of a key run one after the other, and another key beside them", async () => {
  await capstan(["queue", "set", "deploy", "--max-running-per-key", "1"]);
  const jobs = [];
  for (let n = 0; n < 3; n += 1) jobs.push(await start({ queue: "deploy", concurrencyKey: "shop" }, "sleep 2"));
  const beside = await start({ queue: "deploy", concurrencyKey: "blog" }, "sleep 0.3");
  const waiting = jobs.at(-1)?.id ?? "";
  expect(await untilWaits(waiting, "KEY_LIMIT")).toBe('queue deploy runs 1 with key "shop", as many as it may');
  expect((await capstan(["explain", waiting])).stdout).toContain("--max-running-per-key");
  await untilEnded(standalone.capstan, beside);
  const spans = [];
  for (const job of jobs) {
    const { startTime, endTime } = stepOf(await untilEnded(standalone.capstan, job));
    spans.push([startTime?.getTime() ?? 0, endTime?.getTime() ?? 0] as const);
  }
  spans.sort(([a], [b]) => a - b);
  for (const [index, [begin]] of spans.entries()) expect(begin).toBeGreaterThanOrEqual(spans[index - 1]?.[1] ?? 0);
});

test("with a rate the next begins when the period has passed", async () => {
  await capstan(["queue", "set", "mail", "--rate", "1/1s"]);
  const [first, second] = [await start({ queue: "mail" }), await start({ queue: "mail" })];
  expect(await untilWaits(second.id, "RATE_LIMIT")).toBe("queue mail has begun 1 in 1 s, as many as it may");
  const begin = async (job: { id: string }) =>
    stepOf(await untilEnded(standalone.capstan, job)).startTime?.getTime() ?? 0;
  expect((await begin(second)) - (await begin(first))).toBeGreaterThan(700);
});

test("a key that is full drops the newest, or has it take the place of what runs, as its queue says", async () => {
  const { capstan: client } = standalone;
  await capstan(["queue", "set", "once", "--max-running-per-key", "1", "--key-policy", "drop-newest"]);
  const first = await start({ queue: "once", concurrencyKey: "k" }, "sleep 60");
  await untilPlaced(client, first);
  const dropped = await untilEnded(client, await start({ queue: "once", concurrencyKey: "k" }));
  expect(dropped).toMatchObject({ state: "JOB_STATE_CANCELLED", reason: "REASON_DROPPED" });
  await capstan(["queue", "set", "once", "--key-policy", "cancel-running"]);
  const newer = await start({ queue: "once", concurrencyKey: "k" });
  expect(await untilEnded(client, first)).toMatchObject({ state: "JOB_STATE_CANCELLED", reason: "REASON_REPLACED" });
  expect(await untilEnded(client, newer)).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
});

test("what waits for longer than its queue allows fails with what it waited for", async () => {
  await capstan(["queue", "set", "hasty", "--on-wait", "QUEUE_PAUSED:1s:fail"]);
  await capstan(["queue", "pause", "hasty"]);
  const ended = await untilEnded(standalone.capstan, await start({ queue: "hasty" }));
  expect(ended).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_QUEUE_TIMEOUT" });
  expect(ended.message).toContain("QUEUE_PAUSED: queue hasty is paused");
});

test("a full queue refuses what comes on top, and the SDK hands it in again when there is room", async () => {
  await capstan(["queue", "set", "small", "--max-depth", "2"]);
  await capstan(["queue", "pause", "small"]);
  const [first, second] = [await start({ queue: "small" }), await start({ queue: "small" })];
  expect(await refusalOf(start({ queue: "small" }))).toMatchObject({
    code: "RESOURCE_EXHAUSTED",
    message: "queue small holds 2 jobs that have not begun; its limit is 2",
    metadata: { queue: "small", depth: "2", limit: "2" },
  });
  const job = { name: "later", command: ["true"], queue: "small" };
  const handedIn = standalone.capstan.jobs.submit(job, { deadlineMs: 30_000 });
  await capstan(["queue", "resume", "small"]);
  for (const each of [first, second]) await untilEnded(standalone.capstan, each);
  const { id } = await handedIn;
  expect(await untilEnded(standalone.capstan, { id })).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
});

test("a job that no provider takes is told by explain what each has against it, before it is submitted and after", async () => {
  const file = JSON.stringify({ name: "huge", steps: [{ command: ["true"], resources: { slots: 1000 } }] });
  const before = await capstan(["explain", "-f", "-"], file);
  expect(before.stdout).toContain("not submitted; if it were");
  expect(before.stdout).toContain("refused   local: SLOTS");
  const job = await submit(standalone.capstan, { ...sh("true"), resources: { slots: 1000 } });
  await eventually(async () =>
    expect(stepOf(await getJob(standalone.capstan, job.id)).reason).not.toBe("REASON_QUEUED"),
  );
  const after = await capstan(["explain", job.id]);
  expect(after.stdout).toContain("refused   local: SLOTS");
  expect(after.stdout).toContain("to change");
  await stop(job.id);
  const good = await capstan(["explain", "-f", "-"], JSON.stringify({ name: "small", steps: [{ command: ["true"] }] }));
  expect(good.stdout).toContain("would begin at once on local");
});

test("explain says of a full provider who holds it, and of what runs where", async () => {
  const slots = (await standalone.capstan.providers.getProvider({ provider: "local" })).provider?.capacity?.slots ?? 1;
  const hogs = [];
  for (let n = 0; n < slots; n += 1) hogs.push(await start({ name: "hog" }, "sleep 60"));
  for (const hog of hogs) await untilPlaced(standalone.capstan, hog);
  const [hog] = hogs;
  expect((await capstan(["explain", hog?.id ?? ""])).stdout).toContain("runs on local");
  const job = await start({});
  await untilWaits(job.id, "NO_CAPACITY");
  expect((await capstan(["explain", job.id])).stdout).toMatch(/held by \d+ × hog/);
  for (const each of hogs) await stop(each.id);
  expect(await untilEnded(standalone.capstan, job)).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
  // What it waited for is told also when it has ended.
  const { timeline } = JSON.parse((await capstan(["explain", job.id, "-o", "json"])).stdout);
  expect(timeline.map(({ fact }: { fact: string }) => fact)).toEqual(
    expect.arrayContaining([
      "job.submitted",
      "saga.waiting",
      "execution.started",
      "execution.succeeded",
      "job.succeeded",
    ]),
  );
  const waited = timeline.find(({ fact }: { fact: string }) => fact === "saga.waiting");
  expect(waited.details).toContain("reason=NO_CAPACITY");
});

test("the facts of a job's attempts come in pages, of a job that nobody knows none, and what is no id is refused", async () => {
  const { sagas } = standalone.capstan;
  const job = await submit(standalone.capstan, { ...sh("true"), resources: { slots: 1000 } });
  await untilWaits(job.id, "NO_CAPACITY");
  await stop(job.id);
  await untilEnded(standalone.capstan, job);
  const ask = { jobId: job.id, pageSize: 1, pageToken: "" };
  const first = await sagas.listSagaEvents(ask);
  const second = await sagas.listSagaEvents({ ...ask, pageToken: first.nextPageToken });
  const types = [first, second].flatMap(({ events }) => events.map(({ type }) => type));
  expect(types).toEqual(["capstan.orchestrator.v1.saga.waiting", "capstan.orchestrator.v1.saga.compensated"]);
  expect(second.nextPageToken).toBe("");
  expect((await sagas.listSagaEvents({ ...ask, jobId: randomUUID() })).events).toEqual([]);
  expect(await refusalOf(sagas.listSagaEvents({ ...ask, jobId: "x" }))).toMatchObject({
    fields: [{ field: "job_id", description: "must be the id of a job" }],
  });
});

test("explain says what a step that waits for itself waits for, and of what has ended how", async () => {
  const later = await start({ notBefore: new Date(Date.now() + 3_600_000) });
  const { stdout } = await capstan(["explain", later.id]);
  expect(stdout).toContain("step main is BLOCKED");
  expect(stdout).toContain("NOT_BEFORE");
  expect(stdout).toMatch(/goes on\s+in 59m\d+s, by itself/);
  await stop(later.id);
  const done = await run(standalone.capstan, sh("true"));
  expect((await capstan(["explain", done.id])).stdout).toContain(`job ${done.id} is SUCCEEDED`);
});

test("what cannot be is refused: no such job, no such setting, a queue in use", async () => {
  expect(await capstan(["explain", "00000000-0000-0000-0000-000000000000"])).toMatchObject({ exitCode: 1 });
  expect(await capstan(["explain"])).toMatchObject({ exitCode: 2 });
  expect(await capstan(["queue", "set", "x", "--rate", "often"])).toMatchObject({ exitCode: 2 });
  expect((await capstan(["queue", "set", "No Name"])).stderr).toContain("queue: must be 1 to 63 characters");
  expect(await capstan(["queue", "delete", "never-set"])).toMatchObject({ exitCode: 1 });
});

test("simulate shows that a quiet key does not wait for one that floods", async () => {
  const args = [
    "--slots",
    "1",
    "--load",
    "key=quiet,per-second=0.2",
    "--load",
    "key=flood,per-second=20",
    "-o",
    "json",
  ];
  const { stdout } = await capstan(["queue", "simulate", ...args]);
  const { waits } = JSON.parse(stdout);
  expect(Number.parseFloat(waits[0].p99)).toBeLessThan(3);
  expect(Number.parseFloat(waits[1].p99)).toBeGreaterThan(30);
});
