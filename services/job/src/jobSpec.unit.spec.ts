import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { describe, expect, it } from "vitest";
import { hashOf } from "./jobProto.ts";
import { checkSpec, completeSpec } from "./jobSpec.ts";

const now = new Date("2026-01-01T00:00:00Z");

function aSpec(fields: object = {}, step: object = {}): JobSpec {
  return JobSpec.fromJSON({ name: "hello", steps: [{ command: ["true"], ...step }], ...fields });
}

function fieldsOf(spec: JobSpec): readonly string[] {
  return checkSpec(spec, "spec", now).map(({ field }) => field);
}

it("a small spec is good", () => {
  expect(checkSpec(aSpec(), "spec", now)).toEqual([]);
});

it("what only looks like NUL or half a character is good", () => {
  expect(checkSpec(aSpec({ input: ["\\u0000", "\\ud800", "\u0001", "\ud83d\ude00"] }), "spec", now)).toEqual([]);
});

it("names every bad field at once", () => {
  const spec = aSpec({ name: "", priority: 101 }, { command: [], runTimeout: "-5s", env: { "1x": "y" } });
  expect(fieldsOf(spec)).toEqual([
    "spec.name",
    "spec.priority",
    "spec.steps[0].command",
    'spec.steps[0].env["1x"]',
    "spec.steps[0].run_timeout",
  ]);
});

describe("refuses", () => {
  const refused: readonly [what: string, spec: JobSpec, field: string][] = [
    ["an empty program name", aSpec({}, { command: [""] }), "spec.steps[0].command[0]"],
    ["NUL in an argument", aSpec({}, { command: ["a\0b"] }), "spec.steps[0].command[0]"],
    ["control characters in a name", aSpec({ name: "a\u001b[31m" }), "spec.name"],
    ["a name over the limit", aSpec({ name: "x".repeat(129) }), "spec.name"],
    [
      "10,000 labels",
      aSpec({ labels: Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`l${n}`, "v"])) }),
      "spec.labels",
    ],
    ["__proto__ as a label", JobSpec.decode(protoLabel()), 'spec.labels["__proto__"]'],
    ["a reserved variable", aSpec({}, { env: { CAPSTAN_JOB_ID: "x" } }), "spec.steps[0].env[CAPSTAN_JOB_ID]"],
    ["an absurd timeout", aSpec({ timeout: "100000000000s" }), "spec.timeout"],
    ["an unknown strategy", aSpec({}, { placement: { strategy: "BEST" } }), "spec.steps[0].placement.strategy"],
    [
      "a label operator that is not given",
      aSpec({}, { placement: { constraints: [{ key: "zone", values: ["a"] }] } }),
      "spec.steps[0].placement.constraints[0].operator",
    ],
    [
      "a comparison with no number",
      aSpec({}, { placement: { constraints: [{ key: "z", operator: "LABEL_OPERATOR_GT", values: ["x"] }] } }),
      "spec.steps[0].placement.constraints[0].values",
    ],
    ["a relative working directory", aSpec({}, { workingDirectory: "tmp" }), "spec.steps[0].working_directory"],
    ["command and script together", aSpec({}, { script: { content: "true" } }), "spec.steps[0].script"],
    [
      "1,001 steps",
      aSpec({ steps: Array.from({ length: 1_001 }, (_, n) => ({ name: `s${n}`, command: ["a"] })) }),
      "spec.steps",
    ],
    ["a bad name of a queue", aSpec({ queue: "Default!" }), "spec.queue"],
    ["a key of two lines", aSpec({ concurrencyKey: "a\nb" }), "spec.concurrency_key"],
    ["NUL in an input", aSpec({ input: { a: ["b\0"] } }), "spec.input"],
    ["half a character in a key of an input", aSpec({ input: { "\udc00": 1 } }), "spec.input"],
    ["NUL in the input of a handler", aSpec({}, { command: [], handler: "h", input: "\0" }), "spec.steps[0].input"],
    ["an input over 256 KiB", aSpec({ input: "x".repeat(270_000) }), "spec.input"],
    ["101 attempts", aSpec({}, { retry: { maxAttempts: 101 } }), "spec.steps[0].retry.max_attempts"],
    [
      "NaN as a multiplier",
      aSpec({}, { retry: { maxAttempts: 2, multiplier: Number.NaN } }),
      "spec.steps[0].retry.multiplier",
    ],
    ["a start time years ahead", aSpec({ notBefore: "2030-01-01T00:00:00Z" }), "spec.not_before"],
    ["a lone surrogate", aSpec({ name: "\ud800" }), "spec.name"],
    [
      "a spec over 256 KiB",
      aSpec({}, { command: ["x".repeat(130_000), "x".repeat(130_000), "x".repeat(130_000)] }),
      "spec",
    ],
    [
      "a spec that is too long as JSON",
      aSpec({}, { command: ["x", ...["a", "b"].map(() => "\u0001".repeat(100_000))] }),
      "spec",
    ],
  ];
  it.each(refused)("%s", (_, spec, field) => {
    expect(fieldsOf(spec)).toEqual([field]);
  });
});

/** A spec whose label map has `__proto__`, as it comes over the wire. */
function protoLabel(): Uint8Array {
  const spec = aSpec();
  Object.defineProperty(spec.labels, "__proto__", { value: "x", enumerable: true });
  return JobSpec.encode(spec).finish();
}

it("fills in the defaults", () => {
  const [step] = completeSpec(aSpec({}, { script: { content: "true" }, command: [] })).steps;
  expect(step).toMatchObject({
    name: "main",
    resources: { slots: 1, cpuMillis: 0, memoryMib: 0 },
    script: { interpreter: ["sh"] },
    stopGrace: { seconds: 10 },
    startTimeout: { seconds: 300 },
  });
});

it("the hash does not depend on the order of labels", () => {
  const hash = (labels: object) => Buffer.from(hashOf(JobSpec.toJSON(aSpec({ labels })))).toString("hex");
  expect(hash({ a: "1", b: "2" })).toBe(hash({ b: "2", a: "1" }));
  expect(hash({ a: "1" })).not.toBe(hash({ a: "2" }));
});
