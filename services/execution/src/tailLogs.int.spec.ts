/** Logs from the workload to those who read them, live and afterwards. */
import { createHash } from "node:crypto";
import type { TailLogsResponse } from "@capstan/proto/capstan/execution/v1/execution_service.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { startOf, startTestService, type TestService } from "./startTestService.ts";

const capBytes = 4 * 1024 * 1024;
let database: TestDatabase;
let nats: TestNats;
let writer: TestService;
let reader: TestService;

beforeAll(async () => {
  [database, nats] = await Promise.all([createTestDatabase("execution"), startTestNats()]);
  const options = { database, natsUrl: nats.url, env: { CAPSTAN_LOG_CAP_BYTES: String(capBytes) } };
  writer = await startTestService(options);
  reader = await startTestService(options);
});

afterAll(async () => {
  await Promise.all([writer?.end("SIGTERM"), reader?.end("SIGTERM")]);
  await Promise.all([nats.release(), database.drop()]);
});

async function start(script: string): Promise<string> {
  const one = startOf({ command: ["sh", "-c", script] });
  await writer.internal.startExecutions({ starts: [one] });
  return one.executionId;
}

interface ReadLog {
  readonly stdout: string;
  readonly stderr: string;
  readonly all: Buffer;
  readonly sequences: readonly number[];
  readonly summary: Extract<TailLogsResponse["part"], { $case: "summary" }>["value"] | undefined;
}

async function read(from: TestService, executionId: string, follow = true, afterSequence = 0): Promise<ReadLog> {
  const pieces: { stream: string; data: Buffer; sequence: number }[] = [];
  let summary: ReadLog["summary"];
  for await (const { part } of from.executions.tailLogs({ executionId, afterSequence, follow })) {
    if (part?.$case === "chunk") {
      expect(part.value.offset).toBe(
        pieces.reduce((sum, piece) => sum + (piece.stream === part.value.stream ? piece.data.length : 0), 0) +
          (afterSequence === 0 ? 0 : part.value.offset),
      );
      pieces.push(part.value);
    } else summary = part?.value;
  }
  const of = (stream: string) =>
    Buffer.concat(pieces.flatMap((piece) => (piece.stream === stream ? piece.data : []))).toString();
  return {
    stdout: of("LOG_STREAM_STDOUT"),
    stderr: of("LOG_STREAM_STDERR"),
    all: Buffer.concat(pieces.map(({ data }) => data)),
    sequences: pieces.map(({ sequence }) => sequence),
    summary,
  };
}

test("a log that is followed, one that is read afterwards and one that is followed elsewhere are the same", async () => {
  const id = await start("for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; sleep 0.05; done; printf end");
  const [live, elsewhere] = await Promise.all([read(writer, id), read(reader, id)]);
  const archived = await read(reader, id, false);
  expect(live).toEqual(archived);
  expect(elsewhere).toEqual(archived);
  expect(archived.stdout).toBe("out 1\nout 2\nout 3\nout 4\nout 5\nend");
  expect(archived.stderr).toBe("err 1\nerr 2\nerr 3\nerr 4\nerr 5\n");
  expect(archived.sequences).toEqual(archived.sequences.map((_, index) => index + 1));
  expect(archived.summary).toEqual({
    stdoutBytes: 33,
    stderrBytes: 30,
    lines: 11,
    droppedBytes: 0,
    sha256: createHash("sha256").update(archived.all).digest("hex"),
    isSealed: true,
    hasGap: false,
  });
});

test("reading goes on after the last sequence that was seen", async () => {
  const id = await start("echo one; echo two >&2; sleep 0.2; echo three");
  const whole = await read(writer, id);
  const rest = await read(reader, id, false, 1);
  expect(rest.sequences).toEqual(whole.sequences.slice(1));
  expect(rest.stdout).toBe("three\n");
});

test("who does not follow gets what is there and a summary that is not sealed", async () => {
  const id = await start("echo first; sleep 30");
  const { stdout, summary } = await eventually(async () => {
    const log = await read(writer, id, false);
    expect(log.stdout).not.toBe("");
    return log;
  });
  expect(stdout).toBe("first\n");
  expect(summary).toMatchObject({ stdoutBytes: 6, isSealed: false, sha256: "" });
  const stop = {
    executionId: id,
    reason: "REASON_OPERATOR" as const,
    message: "",
    tenant: "default",
    step: "",
    attempt: 1,
  };
  await writer.internal.stopExecutions({ stops: [{ ...stop, jobId: id }] });
  expect((await read(reader, id)).summary?.isSealed).toBe(true);
});

test("beyond the cap output is dropped, counted and declared, and a result in it still counts", async () => {
  const id = await start(`head -c ${capBytes + 12_345} /dev/zero; printf '\\nCAPSTAN_OUTPUT=7\\n'`);
  const { all, summary } = await read(writer, id);
  expect(all.length).toBe(capBytes);
  expect(summary).toMatchObject({ stdoutBytes: capBytes, droppedBytes: 12_345 + 18, isSealed: true });
  expect(summary?.sha256).toBe(createHash("sha256").update(Buffer.alloc(capBytes)).digest("hex"));
  const { execution } = await writer.executions.getExecution({ executionId: id });
  expect(execution).toMatchObject({ state: "EXECUTION_STATE_SUCCEEDED", result: 7 });
});

test("10,000 lines a second are stored without a loss", async () => {
  const lines = 50_000;
  const before = performance.now();
  const ids = await Promise.all(Array.from({ length: 5 }, () => start(`seq -f 'line %08.0f' 1 ${lines / 5}`)));
  const logs = await Promise.all(ids.map((id) => read(writer, id)));
  const seconds = (performance.now() - before) / 1_000;
  const expected = Array.from({ length: lines / 5 }, (_, i) => `line ${String(i + 1).padStart(8, "0")}\n`).join("");
  for (const { stdout, summary } of logs) {
    expect(stdout === expected).toBe(true);
    expect(summary?.lines).toBe(lines / 5);
  }
  console.log(`${lines} lines by 5 executions, stored and read live, in ${seconds.toFixed(2)} s`);
  expect(lines / seconds).toBeGreaterThan(10_000);
});

test("lines that come singly are stored together", async () => {
  const id = await start("i=0; while [ $i -lt 300 ]; do echo $i; i=$((i+1)); sleep 0.001; done");
  const { stdout, summary } = await read(writer, id);
  expect(summary?.lines).toBe(300);
  expect(stdout.split("\n")).toHaveLength(301);
  const [row] = await queryOnce(
    database.adminUrl,
    "select count(*)::int as chunks from execution.log_chunk where execution_id = $1",
    [id],
  );
  expect(row?.["chunks"]).toBeLessThan(30);
});

test("the log of an unknown execution is refused", async () => {
  const unknown = "00000000-0000-4000-8000-000000000000";
  await expect(read(writer, unknown)).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(read(writer, "nonsense")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});

test("a log is read in pages, and one that is not sealed yet goes on where its pages ended", async () => {
  const executionId = await start("echo first; sleep 1; seq 1 60000; echo last");
  const readPage = (pageToken: string, pageSize = 2) =>
    reader.executions.readLogs({ executionId, pageSize, pageToken });
  const first = await eventually(async () => {
    const page = await readPage("");
    expect(page.chunks.length).toBeGreaterThan(0);
    return page;
  });
  const pieces = first.chunks.map(({ data }) => data);
  let page = first;
  await eventually(async () => {
    page = await readPage(page.nextPageToken);
    pieces.push(...page.chunks.map(({ data }) => data));
    return page.nextPageToken === "";
  });
  const { all } = await read(reader, executionId);
  expect(Buffer.concat(pieces).equals(all)).toBe(true);
  expect(page.summary).toMatchObject({ isSealed: true });
  await expect(readPage("x")).rejects.toMatchObject({ reason: "INVALID_FIELDS", fields: [{ field: "page_token" }] });
  await expect(readPage("", -1)).rejects.toMatchObject({ fields: [{ field: "page_size" }] });
});
