/** A user submits a job, sees it run to its end, and finds every fact of it on NATS. */
import { expect, test } from "vitest";
import { readSubject } from "../support/broker.ts";
import { eventually } from "../support/eventually.ts";
import {
  listEvents,
  readLog,
  requestOf,
  run,
  sh,
  shortType,
  stepOf,
  submit,
  untilEnded,
  untilPlaced,
} from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();

test("a job succeeds with what its workload gave back", async () => {
  const { capstan } = platform();
  const job = await run(capstan, sh(`echo working; echo 'CAPSTAN_OUTPUT={"rows": [1, 2], "ok": true}'`));
  expect(job).toMatchObject({
    state: "JOB_STATE_SUCCEEDED",
    result: { rows: [1, 2], ok: true },
    steps: [{ name: "main", state: "STEP_STATE_SUCCEEDED", attempt: 1, exitCode: 0, providerName: "local" }],
  });
  const { createTime, startTime, endTime } = job;
  expect(createTime?.getTime()).toBeLessThanOrEqual(startTime?.getTime() ?? 0);
  expect(startTime?.getTime()).toBeLessThanOrEqual(endTime?.getTime() ?? 0);
  const { execution } = await capstan.executions.getExecution({ executionId: stepOf(job).executionId });
  expect(execution).toMatchObject({ state: "EXECUTION_STATE_SUCCEEDED", jobId: job.id, attempt: 1, exitCode: 0 });
});

test("a job that fails says with which exit code", async () => {
  const job = await run(platform().capstan, sh("exit 3"));
  expect(job).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_EXIT_CODE" });
  expect(stepOf(job).exitCode).toBe(3);
  expect(job.message).toContain("3");
});

test("a program that does not exist is the reason of the failure, with its name", async () => {
  const job = await run(platform().capstan, { command: ["no-such-program", "x"] });
  expect(job).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_COMMAND_NOT_FOUND" });
  expect(job.message).toContain("no-such-program");
});

test("arguments are never read by a shell, a script is read by its interpreter, and stdin arrives", async () => {
  const { capstan } = platform();
  const literal = await run(capstan, { command: ["echo", "$HOME; `id`"], args: ["*"] });
  expect((await readLog(capstan, stepOf(literal).executionId)).stdout).toBe("$HOME; `id` *\n");
  const script = await run(capstan, {
    script: { interpreter: ["sh", "-e"], content: "cat\nfalse\necho unreached" },
    stdin: Buffer.from("in"),
  });
  expect((await readLog(capstan, stepOf(script).executionId)).stdout).toBe("in");
  expect(stepOf(script).exitCode).toBe(1);
});

test("a workload has a clean environment and nothing of the platform's", async () => {
  const { capstan } = platform();
  const job = await run(capstan, { command: ["env"], env: { GREETING: "hello" } });
  const { stdout } = await readLog(capstan, stepOf(job).executionId);
  expect(stdout).toContain("GREETING=hello\n");
  expect(stdout).toContain(`CAPSTAN_JOB_ID=${job.id}\n`);
  expect(stdout).not.toMatch(/postgres:|nats:|DATABASE_URL/);
});

test("the facts of a job are on NATS in their order, as CloudEvents that say what the API says", async () => {
  const { capstan, nats } = platform();
  const job = await run(capstan, { command: ["true"] }, { labels: { team: "red" } });
  const events = await listEvents(capstan, job.id);
  expect(events.map(shortType)).toEqual(["job.submitted", "job.started", "job.succeeded"]);
  const messages = await eventually(async () => {
    const found = await readSubject(nats.url, "job", `capstan.v1.default.job.*.*.${job.id}`);
    expect(found).toHaveLength(events.length);
    return found;
  });
  for (const [index, { subject, headers, data }] of messages.entries()) {
    const event = events[index];
    expect(subject).toBe(`capstan.v1.default.job.${event && shortType(event)}.${job.id}`);
    expect(headers).toMatchObject({
      "Nats-Msg-Id": event?.id,
      "ce-specversion": "1.0",
      "ce-id": event?.id,
      "ce-source": "/capstan/job",
      "ce-type": event?.type,
      "ce-subject": job.id,
      "ce-time": event?.time?.toISOString(),
      "ce-datacontenttype": "application/json",
      "ce-sequence": String(index + 1),
      "ce-correlationid": job.id,
      "ce-tenant": "default",
    });
    expect(data).toEqual(event?.data);
  }
  expect(messages[0]?.data).toMatchObject({ labels: { team: "red" }, state: "JOB_STATE_PENDING" });
});

test("the facts of an execution name its job, and one trace goes through all of them", async () => {
  const { capstan, nats } = platform();
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  const { job: submitted } = await capstan.jobs.submitJob(requestOf({ command: ["true"] }), {
    metadata: { traceparent: `00-${traceId}-b7ad6b7169203331-01` },
  });
  const job = await untilEnded(capstan, { id: submitted?.id ?? "" });
  const { executionId } = stepOf(job);
  const told = await eventually(async () => {
    const found = await readSubject(nats.url, "execution", `capstan.v1.default.execution.*.*.${executionId}`);
    expect(found).toHaveLength(2);
    return found;
  });
  const ofJob = await readSubject(nats.url, "job", `capstan.v1.default.job.*.*.${job.id}`);
  expect(told.map(({ headers }) => headers["ce-type"])).toEqual([
    "capstan.execution.v1.execution.started",
    "capstan.execution.v1.execution.succeeded",
  ]);
  for (const { headers } of told) expect(headers["ce-correlationid"]).toBe(job.id);
  for (const { headers } of [...told, ...ofJob]) expect(headers["traceparent"]).toContain(traceId);
});

test("stdout and stderr are told apart, live as they come and archived by the same call", async () => {
  const { capstan } = platform();
  const job = await submit(
    capstan,
    sh("echo one; echo two >&2; read line; echo $line; echo three >&2", { stdin: Buffer.from("last\n") }),
  );
  const running = await submit(capstan, sh("echo first; sleep 1; echo second; echo aside >&2"));
  const executionId = await untilPlaced(capstan, running);
  let stateAtFirst = "";
  const live = await readLog(capstan, executionId, {
    follow: true,
    onChunk: (chunk) => {
      if (chunk.sequence !== 1) return;
      void capstan.executions.getExecution({ executionId }).then(({ execution }) => {
        stateAtFirst = execution?.state ?? "";
      });
    },
  });
  expect(stateAtFirst).toBe("EXECUTION_STATE_RUNNING");
  expect(live).toMatchObject({ stdout: "first\nsecond\n", stderr: "aside\n" });
  const archived = await readLog(capstan, executionId);
  expect(archived).toEqual(live);
  expect(archived.summary).toMatchObject({
    isSealed: true,
    hasGap: false,
    stdoutBytes: 13,
    stderrBytes: 6,
    lines: 3,
    droppedBytes: 0,
  });
  const ended = await untilEnded(capstan, job);
  expect(await readLog(capstan, stepOf(ended).executionId)).toMatchObject({
    stdout: "one\nlast\n",
    stderr: "two\nthree\n",
  });
});

test("a log is stored up to its cap, and says how much was dropped", async () => {
  const { capstan } = platform();
  const job = await run(capstan, sh("head -c 17000000 /dev/zero; echo end >&2"));
  const { summary } = await readLog(capstan, stepOf(job).executionId);
  expect(job.state).toBe("JOB_STATE_SUCCEEDED");
  expect(summary.stdoutBytes + summary.stderrBytes).toBe(16 * 1024 * 1024);
  expect(summary.droppedBytes).toBe(17_000_000 + 4 - 16 * 1024 * 1024);
});
