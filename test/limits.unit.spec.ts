/**
 * Holds docs/limits.md against what the services refuse. A case is a value at the limit, which passes, and one beyond it, which
 * does not; every row about a provider or a queue needs one. Jobs and steps are in jobLimits.unit.spec.ts.
 */
import { ExpressionError, evaluate } from "@capstan/expressions";
import { pageSize, parseFilter } from "@capstan/grpc";
import { Register } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import {
  DecideApprovalRequest,
  SendSignalRequest,
  SubmitJobRequest,
} from "@capstan/proto/capstan/job/v1/job_service.ts";
import { expect, it, test } from "vitest";
import { maxResultBytes, maxResultDepth } from "../libs/expressions/src/values.ts";
import { maxTextLength, maxWork } from "../libs/expressions/src/work.ts";
import { streamMaxAgeMs } from "../libs/messaging/src/stream.ts";
import { maxFactBytes } from "../libs/postgres/src/facts.ts";
import { containerRequest } from "../services/execution/src/backends/dockerRequest.ts";
import { configSchema as executionConfig } from "../services/execution/src/config.ts";
import { maxOutputBytes, maxOutputDepth } from "../services/execution/src/output.ts";
import {
  maxItems,
  maxLogBytes,
  maxMessageLength,
  maxPayloadBytes,
  maxProgressLength,
  readRegister,
} from "../services/execution/src/worker.ts";
import { configSchema as gatewayConfig } from "../services/gateway/src/config.ts";
import { maxWaitingBytes } from "../services/gateway/src/live.ts";
import { keptEvents } from "../services/gateway/src/liveFeed.ts";
import { messageRate, queueLimits } from "../services/gateway/src/liveSocket.ts";
import { maxFieldsBytes, saidOf } from "../services/job/src/approval.ts";
import { maxJobResultBytes } from "../services/job/src/ending.ts";
import { maxListBytes } from "../services/job/src/forEach.ts";
import { handlerName, maxInputBytes } from "../services/job/src/handlerSpec.ts";
import { maxToldResultBytes } from "../services/job/src/jobProto.ts";
import { maxShownResultBytes } from "../services/job/src/jobQueries.ts";
import { maxSpecJsonBytes } from "../services/job/src/jobSpec.ts";
import { maxWorkOfPass } from "../services/job/src/pass.ts";
import { maxFilledBytes } from "../services/job/src/renderStep.ts";
import { maxReadBytes } from "../services/job/src/results.ts";
import { checkSignal, maxKeptSignals } from "../services/job/src/signal.ts";
import { maxDepth } from "../services/job/src/subJob.ts";
import { checkRequest } from "../services/job/src/submitJobs.ts";
import { maxStepsAndItems } from "../services/job/src/workflowSpec.ts";
import { checkSettings, defaultSettings } from "../services/orchestrator/src/queue.ts";
import { checkRegistration } from "../services/provider/src/providerSpec.ts";

import { type Case, checkTable, day, many, mapOf, now, page, rowsAfter, text } from "./support/limits.ts";

const aRegistration = {
  kind: "DOCKER" as const,
  capacity: { slots: 1, cpuMillis: 0, memoryMib: 0 },
  labels: {},
  endpoint: "",
};

const ofProvider: readonly Case[] = [
  ["name", "{0,61}", { name: text(63) }, { name: text(64) }],
  ["name", "UUID", { name: "a" }, { name: "01a1fc03-5c8b-7000-b28f-2ed6cedfdfbc" }],
  ["capacity.slots", "100,000", slots(100_000), slots(100_001)],
  ["capacity.slots", "1 to", slots(1), slots(0)],
  [
    "capacity.cpu_millis, capacity.memory_mib",
    "not negative",
    slots(1),
    { capacity: { slots: 1, cpuMillis: -1, memoryMib: -1 } },
  ],
  ["labels", "64", { labels: mapOf(64) }, { labels: mapOf(65) }],
  ["labels", "256", { labels: mapOf(1, text(256)) }, { labels: mapOf(1, text(257)) }],
  ["endpoint", "256", { endpoint: `unix:///${text(248)}` }, { endpoint: `unix:///${text(249)}` }],
  ["endpoint", "tcp://", { endpoint: "tcp://a:1" }, { endpoint: "https://a:1" }],
];

function slots(count: number): object {
  return { capacity: { slots: count, cpuMillis: 0, memoryMib: 0 } };
}

const rule = { afterMs: 1_000, action: "NOTIFY" as const, reason: null, providerKind: "" };
const rates = (count: number, periodMs: number) => ({ rate: { count, periodMs }, ratePerKey: { count, periodMs } });
const waits = ["QUEUE_PAUSED", "QUEUE_LIMIT", "KEY_LIMIT", "RATE_LIMIT", "NO_CAPACITY", "PROVIDER_UNHEALTHY"];
const rulesOf = (count: number) => ({
  onWait: many(count, (index) => ({
    ...rule,
    reason: waits[index % 6] ?? null,
    ...(["NOTIFY", "FAIL", "MOVE"] as const)
      .filter((_, at) => at === Math.floor(index / 6))
      .map((action) => ({ action, providerKind: action === "MOVE" ? "docker" : "" }))[0],
  })),
});

const ofQueue: readonly Case[] = [
  ["weight", "1,000", { weight: 1_000 }, { weight: 1_001 }],
  ["weight", "1 to", { weight: 1 }, { weight: -1 }],
  [
    "max_running, max_running_per_key",
    "100,000",
    { maxRunning: 100_000, maxRunningPerKey: 100_000 },
    { maxRunning: 100_001, maxRunningPerKey: 100_001 },
  ],
  ["rate.count, rate_per_key.count", "100,000", rates(100_000, 1_000), rates(100_001, 1_000)],
  ["rate.count, rate_per_key.count", "1 to", rates(1, 1_000), rates(0, 1_000)],
  ["rate.period, rate_per_key.period", "1 s", rates(1, 1_000), rates(1, 999)],
  ["rate.period, rate_per_key.period", "1 day", rates(1, day * 1_000), rates(1, day * 1_000 + 1)],
  ["max_depth", "10,000,000", { maxDepth: 10_000_000 }, { maxDepth: 10_000_001 }],
  ["ageing", "1 s", { ageingMs: 1_000 }, { ageingMs: 999 }],
  ["ageing", "1 day", { ageingMs: day * 1_000 }, { ageingMs: day * 1_000 + 1 }],
  ["on_wait", "16", rulesOf(16), rulesOf(17)],
  ["on_wait", "once", { onWait: [rule] }, { onWait: [rule, rule] }],
  ["on_wait.after", "1 s", { onWait: [rule] }, { onWait: [{ ...rule, afterMs: 999 }] }],
  [
    "on_wait.after",
    "30 days",
    { onWait: [{ ...rule, afterMs: 30 * day * 1_000 }] },
    { onWait: [{ ...rule, afterMs: 31 * day * 1_000 }] },
  ],
];

function refusalsOfProvider({ name = "n", ...fields }: { readonly name?: string }): number {
  return checkRegistration(name, { ...aRegistration, ...fields }).length;
}

checkTable("## A provider", ofProvider, refusalsOfProvider);
checkTable("## A queue", ofQueue, (fields) => checkSettings({ ...defaultSettings, ...fields }, "settings").length);

it("docs/limits.md tells the limits of expressions that the code has", () => {
  const rows = rowsAfter("## An expression");
  const good = (expression: string) => expect(() => evaluate(expression, {})).not.toThrow();
  const bad = (expression: string) => expect(() => evaluate(expression, {})).toThrow(ExpressionError);
  expect(rows.get("its text")).toContain("4,096 characters");
  good("1".padEnd(4_096));
  bad("1".padEnd(4_097));
  expect(rows.get("its text")).toContain("64 levels");
  good(`${"(".repeat(62)}1${")".repeat(62)}`);
  bad(`${"(".repeat(65)}1${")".repeat(65)}`);
  expect(rows.get("what it does")).toContain(maxWork.toLocaleString("en"));
  expect(rows.get("a text that it makes")).toContain(maxTextLength.toLocaleString("en"));
  expect(rows.get("what it gives")).toContain(maxResultBytes.toLocaleString("en"));
  expect(rows.get("what it gives")).toContain(`${maxResultDepth} levels`);
  expect(rows.get("what a step is filled in with")).toContain(maxFilledBytes.toLocaleString("en"));
  expect(rows.get("range(n)")).toContain("10,000");
  good("range(10000).size()");
  bad("range(10001).size()");
  expect(rows.get("a text that is looked for")).toContain("1,024");
  good(`'x'.contains('${text(1_024)}')`);
  bad(`'x'.contains('${text(1_025)}')`);
});

test("docs/limits.md says what a call may hold", () => {
  const rows = rowsAfter("## A call");
  const submit = (fields: object) => () =>
    checkRequest(
      SubmitJobRequest.fromPartial({ spec: { name: "n", steps: [{ command: ["true"] }] }, ...fields }),
      { tenant: "default", traceparent: null },
      now,
    );
  expect(rows.get("idempotency_key")).toContain("256");
  expect(submit({ idempotencyKey: text(256) })).not.toThrow();
  expect(submit({ idempotencyKey: text(257) })).toThrow("256");
  expect(rows.get("DecideApproval.note")).toContain("1,024");
  const decide = (fields: object) => () =>
    saidOf(
      DecideApprovalRequest.fromPartial({ step: "s", decision: "APPROVAL_DECISION_REJECT", by: "ada", ...fields }),
    );
  expect(decide({ note: text(1_024), by: text(128), fields: { a: text(maxFieldsBytes - 8) } })).not.toThrow();
  expect(decide({ note: text(1_025) })).toThrow("1024");
  expect(rows.get("DecideApproval.by")).toContain("128");
  expect(decide({ by: text(129) })).toThrow("128");
  expect(decide({ by: "" })).toThrow("required");
  expect(rows.get("DecideApproval.fields")).toContain(maxFieldsBytes.toLocaleString("en"));
  expect(decide({ fields: { a: text(maxFieldsBytes) } })).toThrow(String(maxFieldsBytes));
  const send = (fields: object) => () => checkSignal(SendSignalRequest.fromPartial({ name: "go", ...fields }));
  expect(rows.get("SendSignal.name")).toContain(handlerName.source.slice(1, -1));
  expect(send({ name: text(128) })).not.toThrow();
  expect(send({ name: text(129) })).toThrow("must match");
  expect(rows.get("SendSignal.payload, RerunJob.input")).toContain(maxInputBytes.toLocaleString("en"));
  expect(send({ payload: text(maxInputBytes - 2) })).not.toThrow();
  expect(send({ payload: text(maxInputBytes - 1) })).toThrow(String(maxInputBytes));
  expect(rows.get("request_id")).toContain("64");
  expect(submit({ requestId: text(64) })).not.toThrow();
  expect(submit({ requestId: text(65) })).toThrow("64");
  expect(rows.get("page_size")).toBe("not negative; 0 means 50; more than 1,000 means 1,000");
  expect([pageSize(0), pageSize(1_000), pageSize(1_001)]).toEqual([50, 1_000, 1_000]);
  expect(() => pageSize(-1)).toThrow();
  expect(rows.get("filter")).toBe("4,096 characters, 100 comparisons, 32 levels of parentheses");
  const filter = (source: string) => () => parseFilter(source, { a: { type: "string" } });
  const compared = (count: number) => many(count, () => "a = b").join(" AND ");
  const nested = (levels: number) => `${"(".repeat(levels)}a = b${")".repeat(levels)}`;
  for (const good of [`a = ${text(4_092)}`, compared(100), nested(32)]) expect(filter(good)).not.toThrow();
  for (const bad of [`a = ${text(4_093)}`, compared(101), nested(33)]) expect(filter(bad)).toThrow();
});

test("docs/limits.md says what a worker may say of itself, and in one message", () => {
  const rows = rowsAfter("## A worker");
  const id = "01a1fc03-5c8b-7000-b28f-2ed6cedfdfbc";
  const read = (fields: object) => () =>
    readRegister(Register.fromPartial({ workerId: id, pool: "p", handlers: ["a"], slots: 1, ...fields }), "default");
  const held = (count: number) => many(count, () => ({ executionId: id }));
  const cases: readonly Case[] = [
    ["worker_id", "lower case", {}, { workerId: id.toUpperCase() }],
    ["pool", "{0,61}", { pool: text(63) }, { pool: text(64) }],
    ["handlers", "1 to", { handlers: ["a"] }, { handlers: [] }],
    [
      "handlers",
      "256",
      { handlers: many(256, (index) => `h${index}`) },
      { handlers: many(257, (index) => `h${index}`) },
    ],
    ["handlers", "as `handler`", { handlers: [text(128)] }, { handlers: [text(129)] }],
    ["slots", "1 to", { slots: 1 }, { slots: 0 }],
    ["slots", "10,000", { slots: 10_000 }, { slots: 10_001 }],
    ["labels", "64", { labels: mapOf(64) }, { labels: mapOf(65) }],
    ["labels", "256", { labels: mapOf(1, text(256)) }, { labels: mapOf(1, text(257)) }],
    ["labels", "control characters", { labels: { a: "b" } }, { labels: { a: "\0" } }],
    ["labels", "as in a job", { labels: { [text(63)]: "" } }, { labels: { [text(64)]: "" } }],
    ["sdk, host", "64", { sdk: text(64) }, { sdk: text(65) }],
    ["sdk, host", "128", { host: text(128) }, { host: text(129) }],
    ["held", "10,000", { held: held(10_000) }, { held: held(10_001) }],
  ];
  for (const [field, says, good, bad] of cases) {
    expect(rows.get(field), field).toContain(says);
    expect(read(good), field).not.toThrow();
    expect(read(bad), field).toThrow();
  }
  expect([...rows.keys()].filter((field) => !cases.some(([checked]) => checked === field))).toEqual([]);
  const message = rowsAfter("| In one message |");
  expect(message.get("started, finished, progress")).toBe(`${maxItems.toLocaleString("en")} each`);
  expect(message.get("logs")).toContain(`${maxLogBytes / 1_024} KiB`);
  expect(page).toContain(`A result has at most ${maxPayloadBytes.toLocaleString("en")} bytes`);
  expect(page).toContain(`and ${maxOutputDepth} levels; one that is larger or deeper`);
  expect(page).toContain(`cut at ${maxMessageLength.toLocaleString("en")} characters`);
  expect(page).toContain(`that of a progress at ${maxProgressLength}.`);
});

test("docs/limits.md says what a workflow may be while it runs", () => {
  const rows = rowsAfter("## A workflow while it runs");
  const says = (row: string, ...limits: readonly number[]) => {
    for (const limit of limits) expect(rows.get(row)).toContain(limit.toLocaleString("en"));
  };
  says("steps and items", maxStepsAndItems);
  says("a step with its expressions filled in", maxSpecJsonBytes, maxFilledBytes);
  says("list of the results of a for_each", maxListBytes);
  says("result of a job", maxJobResultBytes, maxToldResultBytes);
  says("results of steps in one answer about a job", maxShownResultBytes);
  expect(rows.get("results that the expressions of one step read")).toContain(`${maxReadBytes / 1_024 ** 2} MiB`);
  says("what begins in one transaction", maxWorkOfPass);
  says("signals that no step has taken yet", maxKeptSignals);
  says("jobs above a sub-job", maxDepth);
});

test("docs/limits.md says what a run may use and what a fact may hold", () => {
  const run = rowsAfter("## A run");
  expect(run.get("result (CAPSTAN_OUTPUT=<json>)")).toContain(`${maxOutputBytes / 1_024} KiB`);
  expect(run.get("result (CAPSTAN_OUTPUT=<json>)")).toContain(`${maxOutputDepth} levels`);
  const { CAPSTAN_LOG_CAP_BYTES } = executionConfig.parse({ CAPSTAN_DATABASE_URL: "postgres://u:p@h/d" });
  expect(run.get("stored log of an execution")).toContain(`${CAPSTAN_LOG_CAP_BYTES / 1_024 ** 2} MiB`);
  const { HostConfig } = containerRequest(aWorkload, "an installation");
  expect(run.get("memory of a container")).toContain(`${(HostConfig?.Memory ?? 0) / 1_024 ** 2} MiB`);
  expect(run.get("CPU of a container")).toContain(((HostConfig?.NanoCpus ?? 0) / 1e6).toLocaleString("en"));
  expect(run.get("processes in a container")).toBe(String(HostConfig?.PidsLimit));
  expect(run.get("open files of a process in a container")).toBe("4,096");
  expect(HostConfig?.Ulimits).toContainEqual({ Name: "nofile", Soft: 4_096, Hard: 4_096 });
  expect(run.get("/tmp in a container")).toContain("64 MiB");
  expect(HostConfig?.Tmpfs?.["/tmp"]).toContain("size=64m");
  expect(() => containerRequest({ ...aWorkload, command: [text(131_071)] }, "")).not.toThrow();
  expect(() => containerRequest({ ...aWorkload, command: [text(131_072)] }, "")).toThrow("131071");
  const live = rowsAfter("## A live client");
  const liveConfig = gatewayConfig.parse({ CAPSTAN_DATABASE_URL: "postgres://a" });
  const said = (row: string) => live.get(row)?.split(";")[0];
  expect(said("live clients of a gateway process")).toBe(liveConfig.CAPSTAN_LIVE_MAX_SESSIONS.toLocaleString("en"));
  expect(said("subscriptions of a WebSocket")).toBe(String(liveConfig.CAPSTAN_LIVE_MAX_SUBSCRIPTIONS));
  expect(said("message of a client")).toBe(`${liveConfig.CAPSTAN_LIVE_MAX_MESSAGE_BYTES.toLocaleString("en")} bytes`);
  expect(said("replay")).toBe(liveConfig.CAPSTAN_LIVE_MAX_REPLAY.toLocaleString("en"));
  expect(live.get("replay")).toContain(`newest ${keptEvents.toLocaleString("en")} facts`);
  expect(said("messages of a client")).toBe(`${messageRate.perSecond} a second, ${messageRate.burst} at once`);
  expect(said("events that wait for a slow WebSocket")).toBe(
    `${queueLimits.maxEvents.toLocaleString("en")} or ${queueLimits.maxBytes / 2 ** 20} MiB, and ${maxWaitingBytes / 2 ** 20} MiB for all together`,
  );
  const fact = rowsAfter("## A fact");
  expect(fact.get("data of a fact")).toBe(`${maxFactBytes / 1_024} KiB`);
  expect(fact.get("age in a stream")).toBe(`${streamMaxAgeMs / day / 1_000} days`);
});

const aWorkload = {
  executionId: "01a1fc03-5c8b-7000-b28f-2ed6cedfdfbc",
  jobId: "01a1fc03-5c8b-7000-b28f-2ed6cedfdfbd",
  attempt: 1,
  tenant: "default",
  fence: 1,
  command: ["true"],
  script: null,
  image: "busybox",
  env: {},
  workingDirectory: null,
  stdin: null,
  cpuMillis: 0,
  memoryMib: 0,
  network: "NONE" as const,
  handler: null,
};
