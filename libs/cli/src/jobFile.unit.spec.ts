import { readdirSync, readFileSync } from "node:fs";
import {
  JobSpec,
  Network,
  type Placement,
  PlacementStrategy,
  TimeoutOutcome,
} from "@capstan/proto/capstan/job/v1/spec.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { UsageError } from "./failure.ts";
import { parseJobFile, parseMessage } from "./jobFile.ts";
import { scheduleFile, templateFile } from "./templateFields.ts";

function parseOne(content: string) {
  const [spec, ...others] = parseJobFile(content, "job.yaml");
  expect(others).toEqual([]);
  return spec;
}

function problemsOf(content: string): readonly string[] {
  try {
    parseJobFile(content, "job.yaml");
  } catch (error) {
    if (error instanceof UsageError) return [error.message, ...error.details];
    throw error;
  }
  return [];
}

test("a YAML file is read by the names of the contract, in either spelling", () => {
  const spec = parseOne(`
name: nightly
labels: { team: red }
timeout: 90s
not_before: 2026-12-24T18:00:00Z
steps:
  - command: [sh, -c, "echo $X"]
    env: { X: "1" }
    run_timeout: 1.5s
    resources: { cpuMillis: 500, memory_mib: 64 }
    retry: { maxAttempts: 3, jitter: 0.1 }
    network: NETWORK_BRIDGE
    stdin: aGVsbG8=
`);
  expect(spec).toMatchObject({
    name: "nightly",
    labels: { team: "red" },
    timeout: { seconds: 90, nanos: 0 },
    notBefore: new Date("2026-12-24T18:00:00Z"),
  });
  expect(spec?.steps[0]).toMatchObject({
    command: ["sh", "-c", "echo $X"],
    env: { X: "1" },
    runTimeout: { seconds: 1, nanos: 500_000_000 },
    resources: { cpuMillis: 500, memoryMib: 64, slots: 0 },
    retry: { maxAttempts: 3, jitter: 0.1, multiplier: 0 },
    network: "NETWORK_BRIDGE",
    script: undefined,
  });
  expect(spec?.steps[0]?.stdin.toString()).toBe("hello");
});

test("an input is any JSON value, and null is none", () => {
  const inputOf = (yaml: string) => parseOne(`steps: [{ handler: resize, input: ${yaml} }]`)?.steps[0]?.input;
  expect(inputOf('{ url: "https://example.com", sizes: [1, 2.5], deep: { on: true, none: null } }')).toEqual({
    url: "https://example.com",
    sizes: [1, 2.5],
    deep: { on: true, none: null },
  });
  for (const [yaml, value] of [
    ["7", 7],
    ["text", "text"],
    ["false", false],
    ["[]", []],
    ["{}", {}],
  ] as const) {
    expect(inputOf(yaml)).toEqual(value);
  }
  expect(inputOf("null")).toBeUndefined();
});

const examples = new URL("../../../examples/", import.meta.url);

const files = readdirSync(examples).filter((name) => name.endsWith(".yaml"));
const isOfAnotherKind = (name: string) => /-(template|schedule)\.yaml$/.test(name);

test.each(files.filter((name) => !isOfAnotherKind(name)))("the example %s is read without a problem", (name) => {
  const specs = parseJobFile(readFileSync(new URL(name, examples), "utf8"), name);
  for (const { name: title, steps } of specs) {
    expect(title).toMatch(/^[a-z-]+$/);
    expect(steps.length).toBeGreaterThan(0);
  }
});

test("JSON is read as it is, tabs and all", () => {
  expect(parseOne('{\n\t"name": "a",\n\t"steps": [{"image": "busybox"}]\n}')).toMatchObject({ name: "a" });
});

test("a list and several documents are several jobs, and empty documents are none", () => {
  expect(parseJobFile("[{ name: a }, { name: b }]", "f").map(({ name }) => name)).toEqual(["a", "b"]);
  expect(parseJobFile("---\nname: a\n---\n# nothing\n---\n- name: b\n- name: c\n", "f")).toHaveLength(3);
});

test.each(["", "# only a comment", "---\n---\n", "[]"])("a file without a job is refused: %j", (content) => {
  expect(problemsOf(content)).toEqual(["job.yaml holds no job"]);
});

test.each([
  ["timout: 3s", "timout is not a field; did you mean timeout?"],
  ["steps: [{ cmd: [ls] }]", "steps[0].cmd is not a field; did you mean command?"],
  ["steps: [{ runtimeout: 3s }]", "steps[0].runtimeout is not a field; did you mean run_timeout?"],
  ["steps: [{ resources: { memoryMb: 3 } }]", "steps[0].resources.memoryMb is not a field; did you mean memory_mib?"],
  ["apiVersion: v1", expect.stringMatching(/^apiVersion is not a field; known here: name, labels/)],
  ["1: x", expect.stringMatching(/^1 is not a field; known here/)],
  ["constructor: x", expect.stringMatching(/^constructor is not a field/)],
  ["__proto__: { name: x }", expect.stringMatching(/^__proto__ is not a field/)],
])("an unknown field is refused with what may have been meant: %s", (content, problem) => {
  expect(problemsOf(content)).toEqual(["job.yaml is not a job spec", problem]);
});

test.each([
  ["labels: { __proto__: x }", 'labels["__proto__"] cannot be used as a key'],
  ["steps: [{ env: { __proto__: { polluted: yes } } }]", 'steps[0].env["__proto__"] cannot be used as a key'],
  ["labels: { 1: x }", 'labels[1] has a key that is not text; put it in quotes: "1"'],
  ["steps: [{ env: { PORT: 80 } }]", 'steps[0].env["PORT"] must be text, not the number 80; put it in quotes: "80"'],
  ["steps: [{ env: { A: null } }]", 'steps[0].env["A"] must be text, not null'],
  ["name: true", 'name must be text, not the boolean true; put it in quotes: "true"'],
  ["timeout: 30", expect.stringContaining('timeout must be a number of seconds with an s, such as "90s"')],
  ["timeout: .5s", expect.stringContaining("timeout must be a number of seconds")],
  ["timeout: 0.0000000001s", expect.stringContaining("timeout must be a number of seconds")],
  ["timeout: 5m", expect.stringContaining('not the text "5m"')],
  ["priority: 1.5", expect.stringContaining("priority must be a whole number")],
  ["priority: 4294967296", expect.stringContaining("priority must be a whole number")],
  ["steps: { command: [ls] }", "steps must be a list, not a map"],
  ["steps: [ls]", "steps[0] must be a map of fields"],
  ["steps: [{ command: ls }]", 'steps[0].command must be a list, not the text "ls"'],
  ["steps: [{ stdin: 'not base64!' }]", expect.stringContaining("steps[0].stdin must be base64 text")],
  ["steps: [{ stdin: !!binary aGk= }]", "steps[0].stdin must be base64 text, not binary data"],
  ["steps: [{ network: BRIDGE }]", expect.stringContaining("did you mean NETWORK_BRIDGE?")],
  ["steps: [{ network: 7 }]", expect.stringContaining("one of NETWORK_NONE, NETWORK_BRIDGE")],
  ["steps: [{ input: { a: [.inf] } }]", 'steps[0].input["a"][0] must be a value that JSON knows, not the number null'],
  ["steps: [{ input: !!binary aGk= }]", "steps[0].input must be a value that JSON knows, not binary data"],
  ["steps: [{ input: { 1: x } }]", 'steps[0].input[1] has a key that is not text; put it in quotes: "1"'],
  ["steps: [{ input: [{ __proto__: x }] }]", 'steps[0].input[0]["__proto__"] cannot be used as a key'],
  ["not_before: tomorrow", expect.stringContaining("not_before must be a time")],
  ["{ steps: [{ runTimeout: 1s, run_timeout: 2s }] }", "steps[0].run_timeout is given twice, in both spellings"],
  ["just text", "(whole document) must be a map of fields"],
])("a value of another kind is refused by its path: %s", (content, problem) => {
  expect(problemsOf(content)).toEqual(["job.yaml is not a job spec", problem]);
});

test("all problems of all jobs are told at once, each with its job", () => {
  expect(problemsOf("- { nme: a, priority: x }\n- { timeout: 1 }")).toEqual([
    "job.yaml is not a job spec",
    "job 1: nme is not a field; did you mean name?",
    expect.stringMatching(/^job 1: priority must be/),
    expect.stringMatching(/^job 2: timeout must be/),
  ]);
});

test.each([
  ["name: [", /line 1/],
  ["name: a\nname: b", /Map keys must be unique at line 2/],
  ["name: !custom x", /Unresolved tag: !custom/],
  ["name: *nowhere", /Unresolved alias/],
])("what is not YAML is refused with its place: %j", (content, problem) => {
  const problems = problemsOf(content);
  expect(problems.join(" ")).toMatch(/not valid YAML or JSON|cannot be read/);
  expect(problems.join(" ")).toMatch(problem);
});

test("aliases that would expand without end are refused", () => {
  const lines = ["a0: &a0 [x, x]"];
  for (let n = 1; n < 30; n++) lines.push(`a${n}: &a${n} [*a${n - 1}, *a${n - 1}]`);
  expect(problemsOf(lines.join("\n"))[0]).toMatch(/cannot be read/);
});

const key = fc.string({ minLength: 1, unit: "grapheme" }).filter((text) => text !== "__proto__");
const duration = fc.record({ seconds: fc.nat(1_000_000), nanos: fc.nat(999_999_999) });
const placement: Placement = {
  provider: "p",
  kind: "",
  constraints: [{ key: "zone", operator: "LABEL_OPERATOR_IN", values: ["a", ""] }],
  strategy: PlacementStrategy.PLACEMENT_STRATEGY_SPREAD,
  spreadLabel: "zone",
};
// As JSON has it, where 0 has no sign.
const input = fc
  .jsonValue()
  .filter((value) => !JSON.stringify(value).includes("__proto__"))
  .map((value): unknown => JSON.parse(JSON.stringify(value)));
const timeoutOutcome = fc.constantFrom(...Object.values(TimeoutOutcome).slice(0, 4));
const step = fc.record({
  name: fc.string(),
  command: fc.array(fc.string({ unit: "grapheme" })),
  args: fc.array(fc.string()),
  script: fc.option(fc.record({ interpreter: fc.array(fc.string()), content: fc.string() }), { nil: undefined }),
  image: fc.string(),
  env: fc.dictionary(key, fc.string()),
  workingDirectory: fc.string(),
  stdin: fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  resources: fc.option(
    fc.record({
      cpuMillis: fc.nat(2 ** 31 - 1),
      memoryMib: fc.nat(2 ** 31 - 1),
      slots: fc.integer({ min: -1, max: 9 }),
    }),
    { nil: undefined },
  ),
  placement: fc.constantFrom(undefined, placement),
  retry: fc.option(
    fc.record({
      maxAttempts: fc.nat(100),
      initialBackoff: fc.option(duration, { nil: undefined }),
      maxBackoff: fc.option(duration, { nil: undefined }),
      multiplier: fc.double({ min: 0, max: 10, noNaN: true }).map((value) => value + 0),
      jitter: fc.constant(0.25),
      fatalExitCodes: fc.array(fc.nat(255)),
    }),
    { nil: undefined },
  ),
  startTimeout: fc.option(duration, { nil: undefined }),
  runTimeout: fc.option(duration, { nil: undefined }),
  stopGrace: fc.option(duration, { nil: undefined }),
  network: fc.constantFrom(Network.NETWORK_UNSPECIFIED, Network.NETWORK_NONE, Network.NETWORK_BRIDGE),
  handler: fc.string(),
  input: input.map((value) => value ?? undefined),
  dependsOn: fc.array(fc.string()),
  continueOnFailure: fc.boolean(),
  when: fc.string(),
  forEach: fc.option(
    fc.record({
      items: fc.option(fc.array(input), { nil: undefined }),
      expression: fc.string(),
      maxParallel: fc.nat(100),
    }),
    { nil: undefined },
  ),
  compensate: fc.string(),
  subJob: fc.option(
    fc.record({
      template: fc.option(
        fc.record({
          name: fc.string(),
          version: fc.nat(9),
          parameters: fc.option(fc.dictionary(key, input), { nil: undefined }),
        }),
        { nil: undefined },
      ),
    }),
    { nil: undefined },
  ),
  approval: fc.option(
    fc.record({ message: fc.string(), timeout: fc.option(duration, { nil: undefined }), onTimeout: timeoutOutcome }),
    { nil: undefined },
  ),
  signal: fc.option(
    fc.record({ name: fc.string(), timeout: fc.option(duration, { nil: undefined }), onTimeout: timeoutOutcome }),
    { nil: undefined },
  ),
  sleep: fc.option(
    fc.record({
      duration: fc.option(duration, { nil: undefined }),
      until: fc.option(fc.date({ noInvalidDate: true, min: new Date(0), max: new Date("9999-12-31") }), {
        nil: undefined,
      }),
      expression: fc.string(),
    }),
    { nil: undefined },
  ),
});
const job = fc.record({
  name: fc.string(),
  labels: fc.dictionary(key, fc.string()),
  annotations: fc.dictionary(key, fc.string({ unit: "grapheme" })),
  steps: fc.array(step, { maxLength: 3 }),
  timeout: fc.option(duration, { nil: undefined }),
  priority: fc.integer({ min: -100, max: 100 }),
  notBefore: fc.option(fc.date({ noInvalidDate: true, min: new Date(0), max: new Date("9999-12-31") }), {
    nil: undefined,
  }),
  source: fc.string(),
  queue: fc.string(),
  concurrencyKey: fc.string(),
  input: input.map((value) => value ?? undefined),
  onSuccess: fc.array(fc.string()),
  onFailure: fc.array(fc.string()),
  onCancel: fc.array(fc.string()),
});

test("what the generated code writes is read as the same spec", () => {
  fc.assert(
    fc.property(job, (spec) => {
      expect(parseOne(JSON.stringify(JobSpec.toJSON(spec)))).toEqual(spec);
    }),
  );
});

const parseSchedule = (content: string) => parseMessage(content, "a.yaml", "schedule", scheduleFile);

test.each(
  files.filter(isOfAnotherKind),
)("the example %s is one template or schedule, read without a problem", (name) => {
  const content = readFileSync(new URL(name, examples), "utf8");
  const isTemplate = name.endsWith("-template.yaml");
  const read = isTemplate ? parseMessage(content, name, "template", templateFile) : parseSchedule(content);
  expect(read).toMatchObject({ name: expect.stringMatching(/^[a-z-]+$/), spec: expect.any(Object) });
});

test("a file of a schedule is read as strictly as a job file", () => {
  expect(() => parseSchedule("{ name: a, spec: { crom: 0 0 * * * } }")).toThrow("is not a schedule");
  expect(() => parseSchedule("{ name: a }\n---\n{ name: b }")).toThrow("holds more than one schedule");
  expect(() => parseSchedule("")).toThrow("holds no schedule");
});
