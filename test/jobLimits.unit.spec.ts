/** Holds what docs/limits.md says of a job and of a step against what is refused; every row needs a case. */
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { expect, test } from "vitest";
import { checkSpec, maxSpecBytes, maxSpecJsonBytes } from "../services/job/src/jobSpec.ts";
import { type Case, checkTable, day, many, mapOf, nested, now, rowsAfter, seconds, text } from "./support/limits.ts";

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

function refusalsOf(job: object, step: object): number {
  const spec = JobSpec.fromPartial({ name: "n", steps: [{ command: ["true"], ...step }], ...job });
  return checkSpec(spec, "spec", now).length;
}

checkTable("| Field of `JobSpec` |", ofJob, (fields) => refusalsOf(fields, {}));
checkTable("| Field of `StepSpec` |", ofStep, (fields) => refusalsOf({}, fields));

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
