/** Jobs with one thing wrong each, and how that is told. */
import type { JobPart, RequestPart, StepPart } from "./jobs.ts";

interface BadJob {
  readonly step?: StepPart;
  readonly job?: JobPart;
  readonly request?: RequestPart;
  readonly field: string;
  /** Words of the limit or the rule. */
  readonly says: string;
}

export const manyLabels = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`key-${index}`, ""]));

/** By what is bad about each. */
export const badJobs: Readonly<Record<string, BadJob>> = {
  "an empty command": { step: { command: [] }, field: "spec.steps[0].command", says: "is empty" },
  "a program without a name": {
    step: { command: ["", "x"] },
    field: "spec.steps[0].command[0]",
    says: "names the program",
  },
  "a command and a script at once": {
    step: { command: ["true"], script: { interpreter: [], content: "true" } },
    field: "spec.steps[0].script",
    says: "together with command",
  },
  "a handler and a command at once": {
    step: { handler: "resize", command: ["true"] },
    field: "spec.steps[0].command",
    says: "together with handler",
  },
  "a handler whose name is no name": {
    step: { handler: "re size" },
    field: "spec.steps[0].handler",
    says: "must match",
  },
  "an input without a handler": {
    step: { command: ["true"], input: { width: 1 } },
    field: "spec.steps[0].input",
    says: "needs a handler",
  },
  "an input over 256 KiB": {
    step: { handler: "resize", input: "x".repeat(256 * 1_024) },
    field: "spec.steps[0].input",
    says: "the limit is 262144",
  },
  "a handler with an environment": {
    step: { handler: "resize", env: { A: "" } },
    field: "spec.steps[0].env",
    says: "with a handler",
  },
  "no name": { job: { name: "" }, field: "spec.name", says: "required" },
  "a name of 129 characters": { job: { name: "x".repeat(129) }, field: "spec.name", says: "128" },
  "a NUL byte in the name": { job: { name: "a\0b" }, field: "spec.name", says: "NUL" },
  "a control character in the name": { job: { name: "a\u001b[2Jb" }, field: "spec.name", says: "control characters" },
  "a NUL byte in an argument": { step: { command: ["echo", "a\0b"] }, field: "spec.steps[0].command[1]", says: "NUL" },
  "a NUL byte in a label's value": { job: { labels: { team: "a\0b" } }, field: 'spec.labels["team"]', says: "NUL" },
  "10,000 labels": { job: { labels: manyLabels }, field: "spec.labels", says: "64" },
  "`__proto__` as a label": {
    job: { labels: JSON.parse('{"__proto__": "x"}') },
    field: 'spec.labels["__proto__"]',
    says: "must match",
  },
  "a label's value of 257 characters": {
    job: { labels: { team: "x".repeat(257) } },
    field: 'spec.labels["team"]',
    says: "256",
  },
  "a variable that is not a name": {
    step: { env: { "A=B": "" } },
    field: 'spec.steps[0].env["A=B"]',
    says: "must match",
  },
  "a variable that is ours": {
    step: { env: { CAPSTAN_JOB_ID: "x" } },
    field: "spec.steps[0].env[CAPSTAN_JOB_ID]",
    says: "reserved",
  },
  "a relative working directory": {
    step: { workingDirectory: "tmp" },
    field: "spec.steps[0].working_directory",
    says: "absolute",
  },
  "a negative duration": {
    step: { runTimeout: { seconds: -5, nanos: 0 } },
    field: "spec.steps[0].run_timeout",
    says: "from 0.001 s to 2592000 s",
  },
  "a duration of a thousand years": {
    job: { timeout: { seconds: 31_557_600_000, nanos: 0 } },
    field: "spec.timeout",
    says: "2592000 s",
  },
  "a time after the next year": {
    job: { notBefore: new Date(Date.now() + 400 * 86_400_000) },
    field: "spec.not_before",
    says: "366 days",
  },
  "a priority of 1,000": { job: { priority: 1_000 }, field: "spec.priority", says: "from -100 to 100" },
  "101 attempts": {
    step: { retry: { maxAttempts: 101 } },
    field: "spec.steps[0].retry.max_attempts",
    says: "from 0 to 100",
  },
  "negative attempts": {
    step: { retry: { maxAttempts: -1 } },
    field: "spec.steps[0].retry.max_attempts",
    says: "from 0 to 100",
  },
  "a multiplier that is no number": {
    step: { retry: { maxAttempts: 2, multiplier: Number.NaN } },
    field: "spec.steps[0].retry.multiplier",
    says: "from 1 to 10",
  },
  "negative slots": {
    step: { resources: { slots: -1 } },
    field: "spec.steps[0].resources.slots",
    says: "from 0 to 1000",
  },
  "stdin of 65 KiB": { step: { stdin: Buffer.alloc(65 * 1024) }, field: "spec.steps[0].stdin", says: "65536" },
  "a constraint without an operator": {
    step: { placement: { constraints: [{ key: "zone", values: ["a"] }] } },
    field: "spec.steps[0].placement.constraints[0].operator",
    says: "EQ, NE, IN, NOT_IN, GT or LT",
  },
  "a comparison with what is no number": {
    step: { placement: { constraints: [{ key: "zone", operator: "LABEL_OPERATOR_GT", values: ["many"] }] } },
    field: "spec.steps[0].placement.constraints[0].values",
    says: "number",
  },
  "an image with white space": { step: { image: "busy box" }, field: "spec.steps[0].image", says: "white space" },
  "a spec over its limit": {
    job: {
      annotations: Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`note-${index}`, "x".repeat(4_096)])),
    },
    step: { env: { PADDING: "x".repeat(10_000) } },
    field: "spec",
    says: "262144",
  },
  "a key of 257 characters": { request: { idempotencyKey: "x".repeat(257) }, field: "idempotency_key", says: "256" },
  "a request id of 65 characters": { request: { requestId: "x".repeat(65) }, field: "request_id", says: "64" },
};
