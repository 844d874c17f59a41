/** Whatever a caller sends, it is told clearly what was wrong; nothing of it is kept, and the platform goes on. */
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { badJobs, manyLabels } from "../support/badJobs.ts";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { getJob, refusalOf, requestOf, run, submit, untilEnded } from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();
let readyTime = "";
beforeAll(() => {
  readyTime = new Date().toISOString();
});

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
  // Who starts before those it calls may have said that they are not there.
  expect(defects.filter(({ time }) => !(String(time) < readyTime))).toEqual([]);
});
