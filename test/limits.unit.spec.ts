/**
 * Holds docs/limits.md against what the services refuse. A case is a value at the limit, which passes, and one beyond it, which
 * does not; every row about a spec or a provider needs one.
 */
import { readFileSync } from "node:fs";
import { ExpressionError, evaluate } from "@capstan/expressions";
import { pageSize, parseFilter } from "@capstan/grpc";
import { Register } from "@capstan/proto/capstan/execution/v1/worker_service.ts";
import {
  DecideApprovalRequest,
  SendSignalRequest,
  SubmitJobRequest,
} from "@capstan/proto/capstan/job/v1/job_service.ts";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { describe, expect, it, test } from "vitest";
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
import { checkSpec, maxSpecBytes, maxSpecJsonBytes } from "../services/job/src/jobSpec.ts";
import { maxWorkOfPass } from "../services/job/src/pass.ts";
import { maxFilledBytes } from "../services/job/src/renderStep.ts";
import { maxReadBytes } from "../services/job/src/results.ts";
import { checkSignal, maxKeptSignals } from "../services/job/src/signal.ts";
import { maxDepth } from "../services/job/src/subJob.ts";
import { checkRequest } from "../services/job/src/submitJobs.ts";
import { maxStepsAndItems } from "../services/job/src/workflowSpec.ts";
import { checkSettings, defaultSettings } from "../services/orchestrator/src/queue.ts";
import { checkRegistration } from "../services/provider/src/providerSpec.ts";
import { tableAfter } from "./support/documents.ts";

const now = new Date("2026-01-01T00:00:00Z");
const text = (length: number) => "x".repeat(length);
const many = <T>(count: number, make: (index: number) => T) => Array.from({ length: count }, (_, index) => make(index));
const mapOf = (count: number, value = "v") => Object.fromEntries(many(count, (index) => [`k${index}`, value]));
const seconds = (count: number) => ({ seconds: count, nanos: 0 });
const day = 86_400;

/** A field as the page names it, what its row must say, a value at the limit, a value beyond it. */
type Case = readonly [field: string, says: string, good: object, bad: object];

const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
const hooks = "on_success, on_failure, on_cancel";
const stepsOf = (count: number, prefix = "s") =>
  many(count, (index) => ({ name: prefix === "" ? "" : `${prefix}${index}`, handler: "a" }));
const each = (count: number) => ({ handler: "a", forEach: { items: many(count, () => 1) } });
const expressions = (count: number) => ({ handler: "a", input: many(count, () => "${{1}}") });

const ofJob: readonly Case[] = [
  ["name", "1 to 128", { name: "x" }, { name: "" }],
  ["name", "128", { name: text(128) }, { name: text(129) }],
  ["labels", "64", { labels: mapOf(64) }, { labels: mapOf(65) }],
  ["labels", "256", { labels: mapOf(1, text(256)) }, { labels: mapOf(1, text(257)) }],
  ["labels key", "{0,61}", { labels: { [text(63)]: "" } }, { labels: { [text(64)]: "" } }],
  ["annotations", "64", { annotations: mapOf(64) }, { annotations: mapOf(65) }],
  ["annotations", "4,096", { annotations: mapOf(1, text(4_096)) }, { annotations: mapOf(1, text(4_097)) }],
  ["steps", "1 to 1,000", {}, { steps: [] }],
  ["steps", "1 to 1,000", { steps: stepsOf(1_000) }, { steps: stepsOf(1_001) }],
  ["steps", "10,000 together", { steps: [each(9_999)] }, { steps: [each(10_000)] }],
  ["steps", "names that differ", { steps: stepsOf(2) }, { steps: [...stepsOf(1), ...stepsOf(1)] }],
  ["steps", "required in more than one", { steps: stepsOf(2) }, { steps: stepsOf(2, "") }],
  ["steps", "5,000 expressions", { steps: [expressions(5_000)] }, { steps: [expressions(5_001)] }],
  ["timeout", "30 days", { timeout: seconds(30 * day) }, { timeout: seconds(30 * day + 1) }],
  ["timeout", "1 ms", { timeout: { seconds: 0, nanos: 1e6 } }, { timeout: { seconds: 0, nanos: 1 } }],
  ["priority", "-100", { priority: -100 }, { priority: -101 }],
  ["priority", "100", { priority: 100 }, { priority: 101 }],
  ["not_before", "366 days", { notBefore: new Date("2027-01-02") }, { notBefore: new Date("2027-01-03") }],
  ["source", "256", { source: text(256) }, { source: text(257) }],
  ["queue", "{0,61}", { queue: text(63) }, { queue: text(64) }],
  ["concurrency_key", "256", { concurrencyKey: text(256) }, { concurrencyKey: text(257) }],
  ["input", "262,144", { input: text(262_142) }, { input: text(262_143) }],
  ["input", "24 levels", { input: nested(24) }, { input: nested(25) }],
  [hooks, "names of steps", { steps: stepsOf(2), onCancel: ["s1"] }, { steps: stepsOf(2), onCancel: ["s2"] }],
  [hooks, "each once", { steps: stepsOf(2), onCancel: ["s1"] }, { steps: stepsOf(2), onCancel: ["s1", "s1"] }],
];

const constrained = (...constraints: object[]) => ({ placement: { constraints } });
const eq = (fields: object = {}) => ({ key: "k", operator: "LABEL_OPERATOR_EQ", values: ["v"], ...fields });
const isIn = (count: number) => constrained(eq({ operator: "LABEL_OPERATOR_IN", values: many(count, String) }));
const repeated = (retry: object) => ({ retry });

const handled = (fields: object = {}) => ({ command: [], handler: "a", ...fields });
const waiting = (fields: object) => ({ command: [], ...fields });
const programs = "command, script, image, handler, sub_job, approval, signal, sleep";
const ofProcesses = "args, env, working_directory, stdin, network, resources.cpu_millis, resources.memory_mib";

const ofStep: readonly Case[] = [
  ["name", "{0,61}", { name: text(63) }, { name: text(64) }],
  [programs, "at least one", { command: [], image: "a" }, { command: [] }],
  [programs, "not together", { command: [], script: { content: "a" } }, { script: { content: "a" } }],
  [programs, "each of the others but `image` alone", handled(), handled({ image: "a" })],
  [programs, "each of the others", waiting({ approval: {} }), waiting({ approval: {}, sleep: { expression: "'x'" } })],
  ["command", "not empty", { command: ["a", ""] }, { command: [""] }],
  ["command", "131,072", { command: ["a", text(131_072)] }, { command: ["a", text(131_073)] }],
  ["args", "1,024", { args: many(1_023, () => "a") }, { args: many(1_024, () => "a") }],
  ["args", "131,072", { args: [text(131_072)] }, { args: [text(131_073)] }],
  [
    "script.content",
    "131,072",
    { command: [], script: { content: text(131_072) } },
    { command: [], script: { content: text(131_073) } },
  ],
  ["script.content", "1 to", { command: [], script: { content: "a" } }, { command: [], script: { content: "" } }],
  ["script.interpreter", "16", scriptBy(many(16, () => "a")), scriptBy(many(17, () => "a"))],
  ["script.interpreter", "4,096", scriptBy([text(4_096)]), scriptBy([text(4_097)])],
  ["image", "512", { image: text(512) }, { image: text(513) }],
  ["image", "no white space", { image: "a" }, { image: "a b" }],
  ["env", "256", { env: mapOf(256) }, { env: mapOf(257) }],
  ["env", "131,072", { env: { A: text(131_072) } }, { env: { A: text(131_073) } }],
  ["env name", "{0,127}", { env: { [text(128)]: "" } }, { env: { [text(129)]: "" } }],
  ["env name", "CAPSTAN_", { env: { CAPSTAN: "" } }, { env: { CAPSTAN_X: "" } }],
  ["working_directory", "absolute", { workingDirectory: "/a" }, { workingDirectory: "a" }],
  ["working_directory", "4,096", { workingDirectory: `/${text(4_095)}` }, { workingDirectory: `/${text(4_096)}` }],
  ["stdin", "65,536", { stdin: Buffer.alloc(65_536) }, { stdin: Buffer.alloc(65_537) }],
  [
    "resources.cpu_millis",
    "1,024,000",
    { resources: { cpuMillis: 1_024_000 } },
    { resources: { cpuMillis: 1_024_001 } },
  ],
  [
    "resources.memory_mib",
    "16,777,216",
    { resources: { memoryMib: 16_777_216 } },
    { resources: { memoryMib: 16_777_217 } },
  ],
  ["resources.slots", "1,000", { resources: { slots: 1_000 } }, { resources: { slots: 1_001 } }],
  [
    "resources.slots",
    "with `handler` 0 or 1",
    handled({ resources: { slots: 1 } }),
    handled({ resources: { slots: 2 } }),
  ],
  ["handler", "{0,126}", handled({ handler: text(128) }), handled({ handler: text(129) })],
  ["input", "262,144", handled({ input: text(262_142) }), handled({ input: text(262_143) })],
  ["input", "24 levels", handled({ input: nested(24) }), handled({ input: nested(25) })],
  ["input", "only with `handler`", handled({ input: 1 }), { input: 1 }],
  [ofProcesses, "not with `handler`", { args: ["a"] }, handled({ args: ["a"] })],
  [ofProcesses, "not with `handler`", { env: { A: "" } }, handled({ env: { A: "" } })],
  [ofProcesses, "not with `handler`", { workingDirectory: "/a" }, handled({ workingDirectory: "/a" })],
  [ofProcesses, "not with `handler`", { stdin: Buffer.alloc(1) }, handled({ stdin: Buffer.alloc(1) })],
  [ofProcesses, "not with `handler`", { network: "NETWORK_NONE" }, handled({ network: "NETWORK_NONE" })],
  [ofProcesses, "not with `handler`", { resources: { cpuMillis: 1 } }, handled({ resources: { cpuMillis: 1 } })],
  [ofProcesses, "not with `handler`", { resources: { memoryMib: 1 } }, handled({ resources: { memoryMib: 1 } })],
  ["start_timeout", "1 s", { startTimeout: seconds(1) }, { startTimeout: { seconds: 0, nanos: 999e6 } }],
  ["start_timeout", "1 day", { startTimeout: seconds(day) }, { startTimeout: seconds(day + 1) }],
  ["run_timeout", "30 days", { runTimeout: seconds(30 * day) }, { runTimeout: seconds(30 * day + 1) }],
  ["stop_grace", "10 minutes", { stopGrace: seconds(600) }, { stopGrace: seconds(601) }],
  ["network", "BRIDGE", { network: "NETWORK_BRIDGE" }, { network: "UNRECOGNIZED" }],
  ["placement.provider, placement.kind, placement.spread_label", "63", placedAt(63), placedAt(64)],
  ["placement.constraints", "16", constrained(...many(16, () => eq())), constrained(...many(17, () => eq()))],
  ["placement.constraints[].key", "63", constrained(eq({ key: text(63) })), constrained(eq({ key: text(64) }))],
  [
    "placement.constraints[].values",
    "256",
    constrained(eq({ values: [text(256)] })),
    constrained(eq({ values: [text(257)] })),
  ],
  ["placement.constraints[].values", "1 to 64", isIn(64), isIn(65)],
  ["placement.constraints[].values", "one with `EQ`", constrained(eq()), constrained(eq({ values: ["a", "b"] }))],
  ["retry.max_attempts", "100", repeated({ maxAttempts: 100 }), repeated({ maxAttempts: 101 })],
  [
    "retry.initial_backoff",
    "1 day",
    repeated({ initialBackoff: seconds(day) }),
    repeated({ initialBackoff: seconds(day + 1) }),
  ],
  ["retry.max_backoff", "1 day", repeated({ maxBackoff: seconds(day) }), repeated({ maxBackoff: seconds(day + 1) })],
  ["retry.multiplier", "1 to 10", repeated({ multiplier: 10 }), repeated({ multiplier: 10.1 })],
  ["retry.multiplier", "1 to 10", repeated({ multiplier: 1 }), repeated({ multiplier: 0.9 })],
  ["retry.jitter", "0 to 1", repeated({ jitter: 1 }), repeated({ jitter: 1.1 })],
  [
    "retry.fatal_exit_codes",
    "64",
    repeated({ fatalExitCodes: many(64, () => 1) }),
    repeated({ fatalExitCodes: many(65, () => 1) }),
  ],
  ["retry.fatal_exit_codes", "1 to 255", repeated({ fatalExitCodes: [1, 255] }), repeated({ fatalExitCodes: [0] })],
  ["depends_on", "names of other steps", {}, { dependsOn: ["main"] }],
  ["depends_on", "names of other steps", {}, { dependsOn: ["x"] }],
  ["when", "an expression", { when: "true" }, { when: "true or false" }],
  ["for_each", "exactly one", { forEach: { items: [1] } }, { forEach: { items: [1], expression: "[1]" } }],
  [
    "for_each.items",
    "10,000",
    { forEach: { items: many(9_999, () => 1) } },
    { forEach: { items: many(10_001, () => 1) } },
  ],
  ["for_each.max_parallel", "0 to 10,000", inParallel(10_000), inParallel(10_001)],
  ["for_each.max_parallel", "0 to 10,000", inParallel(0), inParallel(-1)],
  ["compensate", "the name of a step", {}, { compensate: "x" }],
  ["sub_job.template.name", "{0,61}", subJobOf({ name: text(63) }), subJobOf({ name: text(64) })],
  [
    "sub_job.template.parameters",
    "262,144",
    subJobOf({ parameters: { a: text(200_000) } }),
    subJobOf({ parameters: { a: text(262_137) } }),
  ],
  [
    "sub_job.template.parameters",
    "24 levels",
    subJobOf({ parameters: { a: nested(23) } }),
    subJobOf({ parameters: { a: nested(24) } }),
  ],
  [
    "approval.message",
    "1,024",
    waiting({ approval: { message: text(1_024) } }),
    waiting({ approval: { message: text(1_025) } }),
  ],
  [
    "approval.timeout, signal.timeout",
    "1 s",
    approvedWithin(1),
    waiting({ approval: { timeout: { seconds: 0, nanos: 9 } } }),
  ],
  ["approval.timeout, signal.timeout", "366 days", approvedWithin(366 * day), approvedWithin(366 * day + 1)],
  ["signal.name", "{0,126}", waiting({ signal: { name: text(128) } }), waiting({ signal: { name: text(129) } })],
  ["sleep", "exactly one", waiting({ sleep: { expression: "'x'" } }), waiting({ sleep: {} })],
  [
    "sleep.duration",
    "366 days",
    waiting({ sleep: { duration: seconds(366 * day) } }),
    waiting({ sleep: { duration: seconds(366 * day + 1) } }),
  ],
  [
    "what only a program has",
    "not with",
    waiting({ approval: {} }),
    waiting({ approval: {}, retry: { maxAttempts: 2 } }),
  ],
];

function inParallel(maxParallel: number): object {
  return { forEach: { items: [1], maxParallel } };
}

function subJobOf(template: object): object {
  return waiting({ subJob: { template: { name: "t", ...template } } });
}

function approvedWithin(count: number): object {
  return waiting({ approval: { timeout: seconds(count) } });
}

function scriptBy(interpreter: readonly string[]): object {
  return { command: [], script: { interpreter, content: "a" } };
}

function placedAt(length: number): object {
  return { placement: { provider: text(length), kind: text(length), spreadLabel: text(length) } };
}

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

const page = readFileSync(new URL("../docs/limits.md", import.meta.url), "utf8");
const rowsAfter = (heading: string) =>
  new Map(tableAfter(page, heading).map(([field = "", limit = ""]) => [field, limit]));

const subjects: readonly (readonly [heading: string, cases: readonly Case[], refusals: (fields: object) => number])[] =
  [
    ["| Field of `JobSpec` |", ofJob, (fields) => refusalsOf(fields, {})],
    ["| Field of `StepSpec` |", ofStep, (fields) => refusalsOf({}, fields)],
    ["## A provider", ofProvider, refusalsOfProvider],
    ["## A queue", ofQueue, (fields) => checkSettings({ ...defaultSettings, ...fields }, "settings").length],
  ];

function refusalsOf(job: object, step: object): number {
  const spec = JobSpec.fromPartial({ name: "n", steps: [{ command: ["true"], ...step }], ...job });
  return checkSpec(spec, "spec", now).length;
}

function refusalsOfProvider({ name = "n", ...fields }: { readonly name?: string }): number {
  return checkRegistration(name, { ...aRegistration, ...fields }).length;
}

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

describe.each(subjects)("docs/limits.md, %s", (heading, cases, refusals) => {
  const rows = rowsAfter(heading);

  it.each(cases)("%s: %s", (field, says, good, bad) => {
    expect(rows.get(field)).toContain(says);
    expect(refusals(good)).toBe(0);
    expect(refusals(bad)).toBeGreaterThan(0);
  });

  it("has no row that nothing checks", () => {
    const checked = new Set(cases.map(([field]) => field)).add("whole spec");
    expect([...rows.keys()].filter((field) => !checked.has(field))).toEqual([]);
  });
});

test("docs/limits.md says how large a spec may be", () => {
  const row = rowsAfter("| Field of `JobSpec` |").get("whole spec");
  expect(row).toContain(`${maxSpecBytes.toLocaleString("en")} bytes encoded`);
  expect(row).toContain(`${maxSpecJsonBytes.toLocaleString("en")} bytes as JSON`);
  const large = (bytes: number) => ({ steps: [{ command: ["a", ...many(bytes / 100_000, () => text(100_000))] }] });
  expect(refusalsOf(large(200_000), {})).toBe(0);
  expect(refusalsOf(large(300_000), {})).toBe(1);
  const noted = (count: number) => ({
    annotations: mapOf(count, text(4_000)),
    steps: [handled({ input: text(260_000) })],
  });
  expect(refusalsOf(noted(35), {})).toBe(0);
  expect(refusalsOf(noted(40), {})).toBe(1);
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
