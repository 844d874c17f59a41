/** Whatever a caller sends, it is told clearly what was wrong; nothing of it is kept, and the platform goes on. */
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import {
  getJob,
  type JobPart,
  type RequestPart,
  refusalOf,
  requestOf,
  run,
  type StepPart,
  submit,
  untilEnded,
} from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();

const nothing = "00000000-0000-7000-8000-000000000000";

/** What the platform keeps of jobs and providers. */
async function countRows(): Promise<unknown> {
  const [counts] = await queryOnce(
    platform().database.adminUrl,
    `select (select count(*) from job.job) as jobs, (select count(*) from job.event) as events,
            (select count(*) from provider.provider) as providers`,
  );
  return counts;
}

interface BadJob {
  readonly step?: StepPart;
  readonly job?: JobPart;
  readonly request?: RequestPart;
  readonly field: string;
  /** Words of the limit or the rule. */
  readonly says: string;
}

const manyLabels = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`key-${index}`, ""]));

const badJobs: Readonly<Record<string, BadJob>> = {
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

describe("a job is refused with its bad field and the limit, and nothing is kept of it", () => {
  let before: unknown;
  beforeAll(async () => {
    before = await countRows();
  });
  afterAll(async () => {
    expect(await countRows()).toEqual(before);
  });

  test.each(Object.entries(badJobs))("%s", async (_, { step, job, request, field, says }) => {
    const { capstan } = platform();
    const bad = { command: ["true"], ...step };
    const refusal = await refusalOf(submit(capstan, bad, job, request));
    expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELDS" });
    const found = refusal.fields.find((violation) => violation.field === field);
    expect(found, JSON.stringify(refusal.fields)).toBeDefined();
    expect(found?.description).toContain(says);
    // The same in a batch, as the answer of that item.
    const { results } = await capstan.jobs.submitJobs({ requests: [requestOf(bad, job, request)] });
    expect(results[0]?.outcome).toMatchObject({ $case: "refused", value: { code: "INVALID_ARGUMENT" } });
  });

  test("every bad field is named at once", async () => {
    const step = { command: [], env: { "1": "" }, stopGrace: { seconds: 601, nanos: 0 }, resources: { cpuMillis: -1 } };
    const refusal = await refusalOf(
      submit(platform().capstan, step, { name: "", priority: 101 }, { requestId: "x".repeat(65) }),
    );
    expect(refusal.fields.map(({ field }) => field).sort()).toEqual([
      "request_id",
      "spec.name",
      "spec.priority",
      "spec.steps[0].command",
      'spec.steps[0].env["1"]',
      "spec.steps[0].resources.cpu_millis",
      "spec.steps[0].stop_grace",
    ]);
  });

  test("no step, or 1,001", async () => {
    const { jobs } = platform().capstan;
    for (const count of [0, 1_001]) {
      const steps = Array.from({ length: count }, (_, index) => ({ name: `s${index}`, command: ["true"] }));
      const request = { ...requestOf({}), spec: JobSpec.fromPartial({ name: "example", steps }) };
      expect((await refusalOf(jobs.submitJob(request))).fields).toMatchObject([{ field: "spec.steps" }]);
    }
  });

  test("no spec at all, an empty batch, and one of 1,001", async () => {
    const { jobs } = platform().capstan;
    const request = { ...requestOf({}), spec: undefined };
    expect((await refusalOf(jobs.submitJob(request))).fields).toEqual([{ field: "spec", description: "is required" }]);
    expect((await refusalOf(jobs.submitJobs({ requests: [] }))).fields).toMatchObject([{ field: "requests" }]);
    const tooMany = Array.from({ length: 1_001 }, () => requestOf({ command: ["true"] }));
    expect((await refusalOf(jobs.submitJobs({ requests: tooMany }))).message).toContain("1000");
  });
});

describe("a list is refused", () => {
  const list = (part: { filter?: string; orderBy?: string; pageSize?: number; pageToken?: string }) =>
    platform().capstan.jobs.listJobs({ filter: "", orderBy: "", pageSize: 0, pageToken: "", ...part });

  test.each([
    ["with a filter that does not parse", `state = `, "filter"],
    ["with a filter that is not closed", `(state = FAILED`, "filter"],
    ["with a filter over a field that there is not", `nonsense = 1`, "filter"],
    ["with a state that there is not", `state = LOST_IN_SPACE`, "filter"],
    ["with a time that is none", `create_time > "yesterday"`, "filter"],
    ["with a filter that tries to be SQL", `name = "x"; drop table job`, "filter"],
  ])("%s, and the place is named", async (_, filter, field) => {
    const refusal = await refusalOf(list({ filter }));
    expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", fields: [{ field }] });
    expect(refusal.message).not.toMatch(/syntax error at or near|relation/);
  });

  test("what looks like SQL in a value is only a value", async () => {
    expect((await list({ filter: `name = "'; drop table job.job; --"` })).jobs).toEqual([]);
    expect((await list({ filter: `labels.x = "' or 1=1 --"` })).jobs).toEqual([]);
  });

  test("with a filter nested a thousand deep", async () => {
    const refusal = await refusalOf(list({ filter: `${"(".repeat(1_000)}state = FAILED${")".repeat(1_000)}` }));
    expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", fields: [{ field: "filter" }] });
  });

  test("with an order that there is not, a negative page, a token of another query, and what is no token", async () => {
    const { capstan } = platform();
    await Promise.all([1, 2].map(() => run(capstan, { command: ["true"] })));
    const { nextPageToken } = await list({ pageSize: 1 });
    expect((await refusalOf(list({ orderBy: "priority" }))).fields).toMatchObject([
      { field: "order_by", description: expect.stringContaining("create_time desc") },
    ]);
    expect((await refusalOf(list({ pageSize: -1 }))).fields).toMatchObject([{ field: "page_size" }]);
    const foreign = await refusalOf(list({ pageToken: nextPageToken, filter: "state = SUCCEEDED" }));
    expect(foreign.fields).toEqual([{ field: "page_token", description: expect.stringContaining("another query") }]);
    for (const pageToken of ["garbage", "\u0000", Buffer.from('["x"]').toString("base64url"), "x".repeat(10_000)]) {
      expect((await refusalOf(list({ pageToken }))).fields).toMatchObject([{ field: "page_token" }]);
    }
  });
});

describe("what is not there is not found", () => {
  test.each([nothing, "not an id", "", "' or 1=1", "\u0000"])("a job %j", async (jobId) => {
    const { jobs } = platform().capstan;
    const calls = [
      () => jobs.getJob({ jobId }),
      () => jobs.cancelJob({ jobId, message: "" }),
      () => jobs.retryJob({ jobId, requestId: "", fromFailed: false }),
    ];
    for (const call of calls) {
      const { code } = await refusalOf(call());
      expect(code).toBe(jobId === "" ? "INVALID_ARGUMENT" : "NOT_FOUND");
    }
  });

  test("an execution, a saga, a provider", async () => {
    const { executions, sagas, providers } = platform().capstan;
    expect(await refusalOf(executions.getExecution({ executionId: nothing }))).toMatchObject({ code: "NOT_FOUND" });
    expect(await refusalOf(sagas.getSaga({ sagaId: nothing }))).toMatchObject({ code: "NOT_FOUND" });
    for (const provider of [nothing, "unknown", "UPPER", "\u0000"]) {
      expect(await refusalOf(providers.getProvider({ provider }))).toMatchObject({ code: "NOT_FOUND" });
    }
  });

  test("a job for an unknown provider waits, and says that there is none of that name", async () => {
    const { capstan } = platform();
    const job = await submit(capstan, { command: ["true"], placement: { provider: "unknown" } });
    await eventually(async () => {
      const [step] = (await getJob(capstan, job.id)).steps;
      expect(step).toMatchObject({ reason: "REASON_NO_PROVIDER_MATCHES", message: expect.stringContaining("unknown") });
    });
    await capstan.jobs.cancelJob({ jobId: job.id, message: "" });
    await untilEnded(capstan, job);
  });
});

describe("a provider is refused", () => {
  const register = (part: object) => {
    const capacity = { slots: 1, cpuMillis: 0, memoryMib: 0 };
    const kind = "PROVIDER_KIND_PROCESS" as const;
    return platform().capstan.providers.registerProvider({
      name: "p",
      kind,
      capacity,
      labels: {},
      endpoint: "",
      ...part,
    });
  };

  test.each([
    ["with a name that is none", { name: "Two Words" }, "name"],
    ["without a kind", { kind: "PROVIDER_KIND_UNSPECIFIED" }, "kind"],
    ["without capacity", { capacity: undefined }, "capacity"],
    ["with no slots", { capacity: { slots: 0, cpuMillis: 0, memoryMib: 0 } }, "capacity.slots"],
    ["with 100,001 slots", { capacity: { slots: 100_001, cpuMillis: 0, memoryMib: 0 } }, "capacity.slots"],
    ["with 10,000 labels", { labels: manyLabels }, "labels"],
    ["with a label that is `__proto__`", { labels: JSON.parse('{"__proto__": "x"}') }, 'labels["__proto__"]'],
    ["with an endpoint that a process has not", { endpoint: "tcp://127.0.0.1:2375" }, "endpoint"],
  ])("%s", async (_, part, field) => {
    const refusal = await refusalOf(register(part));
    expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", fields: [{ field }] });
  });
});

describe("what no client of ours would send", () => {
  /** Sends bytes as they are. */
  function sendRaw(path: string, bytes: Buffer): Promise<ServiceError> {
    const client = new Client(platform().services.job.grpcAddress, credentials.createInsecure(), {
      "grpc.max_send_message_length": -1,
    });
    const same = (value: Buffer) => value;
    return new Promise<ServiceError>((resolve, reject) => {
      client.makeUnaryRequest(path, same, same, bytes, { deadline: Date.now() + 10_000 }, (error) => {
        client.close();
        if (error === null) reject(new Error("it was accepted"));
        else resolve(error);
      });
    });
  }
  const submitPath = "/capstan.job.v1.JobService/SubmitJob";
  const field = (number: number, bytes: Buffer) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);

  test("garbage is refused as what it is", async () => {
    const error = await sendRaw(submitPath, Buffer.from("ffffffffffffffff", "hex"));
    expect(error).toMatchObject({ code: 3, details: expect.stringContaining("cannot be decoded") });
  });

  test("a message over 4 MiB is refused", async () => {
    const error = await sendRaw(submitPath, Buffer.alloc(5 * 1024 * 1024));
    expect(error.code).toBe(8);
    expect(error.details).toContain(String(4 * 1024 * 1024));
  });

  test("an enum number that there is not is refused with its field", async () => {
    const placement = field(10, Buffer.from([4 << 3, 99]));
    const step = field(4, Buffer.concat([field(2, Buffer.from("true")), placement]));
    const spec = field(1, Buffer.concat([field(1, Buffer.from("example")), step]));
    const error = await sendRaw(submitPath, spec);
    expect(error).toMatchObject({ code: 3, details: expect.stringContaining("placement.strategy") });
  });

  test("text that is not UTF-8 is refused", async () => {
    const spec = field(
      1,
      Buffer.concat([field(1, Buffer.from([0xff, 0xfe])), field(4, field(2, Buffer.from("true")))]),
    );
    expect((await sendRaw(submitPath, spec)).code).toBe(3);
  });

  test("a method that there is not is refused", async () => {
    expect((await sendRaw("/capstan.job.v1.JobService/DropJobs", Buffer.alloc(0))).code).toBe(12);
  });

  test("metadata over 8 KiB is refused", async () => {
    const call = platform().capstan.jobs.getJob({ jobId: nothing }, { metadata: { padding: "x".repeat(9_000) } });
    expect(await refusalOf(call)).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringContaining("8192"),
    });
  });
});

test("after all that every service is ready and runs a job", async () => {
  const { capstan, services } = platform();
  for (const service of Object.values(services)) expect((await service.readiness()).status).toBe(200);
  expect(await run(capstan, { command: ["true"] })).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
  const defects = Object.values(services).flatMap(({ log }) =>
    log.filter(({ level }) => level === "error" || level === "fatal"),
  );
  expect(defects).toEqual([]);
});
