/** From HTTP to a message as JSON, without a server: what is put together from where, and what is refused. */
import { create, type DescMessage, toJson } from "@bufbuild/protobuf";
import { DomainError } from "@capstan/errors";
import fc from "fast-check";
import { expect, test } from "vitest";
import { etagOf, etagPathOf } from "./answer.ts";
import { createJsonCheck } from "./checkJson.ts";
import { type Binding, readContracts } from "./contracts.ts";
import { toJsonPath } from "./fieldPath.ts";
import { depthOf, maxDepth } from "./jsonBody.ts";
import { type ReceivedRequest, readRequest } from "./readRequest.ts";

const contracts = readContracts();
const check = createJsonCheck(contracts.rpcs);

function bindingOf(rpc: string): Binding {
  const found = contracts.bindings.find(({ rpc: { desc } }) => desc.name === rpc);
  if (found === undefined) throw new Error(`no RPC ${rpc}`);
  return found;
}

function read(rpc: string, request: Partial<ReceivedRequest>): Record<string, unknown> {
  const nothing = { path: {}, query: {}, body: undefined, idempotencyKey: undefined, ifMatch: undefined };
  return readRequest(bindingOf(rpc), { ...nothing, ...request }, check);
}

function violations(rpc: string, request: Partial<ReceivedRequest>): Record<string, string> {
  try {
    read(rpc, request);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    return Object.fromEntries(error.fields.map(({ field, description }) => [field, description]));
  }
  return {};
}

test("query parameters become what their fields are", () => {
  expect(read("ListJobs", { query: { pageSize: "5", filter: "state = FAILED" } })).toEqual({
    pageSize: 5,
    filter: "state = FAILED",
  });
  expect(read("WaitJob", { path: { job_id: "a" }, query: { timeout: "3s" } })).toEqual({ jobId: "a", timeout: "3s" });
});

test("all that is wrong is told at once, each with its place", () => {
  const body = {
    spec: {
      name: 7,
      steps: [{ command: "true", runTimeout: "5 minutes" }],
      notBefore: "tomorrow",
      priority: 1.5,
      nothing: 1,
    },
    requests: [],
  };
  expect(violations("SubmitJob", { body })).toEqual({
    requests: "there is no such field",
    "spec.nothing": "there is no such field",
    "spec.name": "must be a string",
    "spec.steps[0].command": "must be a list",
    "spec.steps[0].runTimeout": 'must be a duration in seconds such as "30s" or "0.5s"',
    "spec.notBefore": 'must be a time such as "2026-01-31T08:30:00Z"',
    "spec.priority": "must be an integer",
  });
  expect(violations("ListJobs", { query: { pageSize: "many", page_size: "1", filter: ["a", "b"] }, body: {} })).toEqual(
    {
      body: "this call takes none",
      pageSize: "must be an integer",
      page_size: "there is no such query parameter",
      filter: "must be given once",
    },
  );
  expect(violations("CancelJob", { path: { job_id: "a" }, body: [] })).toEqual({ body: "must be an object" });
  expect(violations("CancelJob", { path: { job_id: "a" }, body: { jobId: "b" } })).toEqual({
    jobId: "is said by the path, not in the body",
  });
});

test("an unknown word of an enum is refused with those there are", () => {
  const body = { name: "a", kind: "DOCKER" };
  expect(violations("RegisterProvider", { body })["kind"]).toMatch(/^must be one of .*PROVIDER_KIND_DOCKER/);
});

test("an idempotency key stands for the field that makes a call repeatable", () => {
  const body = { spec: { name: "a" } };
  expect(read("SubmitJob", { body, idempotencyKey: "k" })).toMatchObject({ idempotencyKey: "k" });
  expect(read("RetryJob", { path: { job_id: "a" }, idempotencyKey: '"k"' })).toEqual({ jobId: "a", requestId: "k" });
  expect(read("CancelJob", { path: { job_id: "a" }, idempotencyKey: "k" })).toEqual({ jobId: "a" });
  expect(violations("SubmitJob", { body: { ...body, idempotencyKey: "other" }, idempotencyKey: "k" })).toEqual({
    "Idempotency-Key": "says something else than idempotencyKey",
  });
});

test("a condition is the etag of the request, and is never ignored", () => {
  const path = { provider: "local" };
  expect(read("UpdateProvider", { path, body: {}, ifMatch: '"3"' })).toMatchObject({ etag: "3" });
  expect(read("UpdateProvider", { path, body: {}, ifMatch: "*" })).not.toHaveProperty("etag");
  for (const ifMatch of ["3", 'W/"3"', '"3", "4"', ""]) {
    expect(violations("UpdateProvider", { path, ifMatch }), ifMatch).toHaveProperty("If-Match");
  }
  expect(violations("CancelJob", { path: { job_id: "a" }, ifMatch: '"3"' })).toEqual({
    "If-Match": "this call takes no condition",
  });
});

test("what an RPC answers when there is nothing to say is as its schema says", () => {
  for (const { desc } of contracts.rpcs) {
    const json = toJson(desc.output, create(desc.output), { alwaysEmitImplicit: true });
    expect(check(desc.output, json), desc.name).toEqual([]);
  }
});

test("any text is a message or is refused, and nothing is thrown but refusals", () => {
  const messages = contracts.bindings.filter(({ hasBody }) => hasBody);
  fc.assert(
    fc.property(fc.constantFrom(...messages), fc.jsonValue(), ({ rpc }, body) => {
      expect(() => violations(rpc.desc.name, { body })).not.toThrow();
    }),
  );
});

test("the fields of a context's refusal are told in the names of JSON", () => {
  const { input } = bindingOf("SubmitJob").rpc.desc as { input: DescMessage };
  expect(toJsonPath("spec.steps[0].working_directory", input)).toBe("spec.steps[0].workingDirectory");
  expect(toJsonPath("spec.labels.my_key", input)).toBe("spec.labels.my_key");
  expect(toJsonPath("idempotency_key", input)).toBe("idempotencyKey");
  expect(toJsonPath("what_ever[3].else_where", input)).toBe("what_ever[3].else_where");
});

test("the etag of an answer is found where its subject is, and a list has none", () => {
  const of = (rpc: string) => etagPathOf(bindingOf(rpc).rpc.desc.output);
  expect(of("GetProvider")).toEqual(["provider", "etag"]);
  expect(of("GetQueue")).toEqual(["queue", "queue", "etag"]);
  expect(of("ListProviders")).toBeNull();
  expect(etagOf({ provider: { etag: "4" } }, of("GetProvider"))).toBe('"4"');
  expect(etagOf({ provider: { etag: "" } }, of("GetProvider"))).toBeNull();
  expect(etagOf({}, of("GetProvider"))).toBeNull();
});

test("the depth of a body is that of its value", () => {
  const deep = (value: unknown): number =>
    typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(deep)) : 0;
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
      expect(depthOf(Buffer.from(JSON.stringify(value)))).toBe(deep(value));
    }),
  );
  expect(depthOf(Buffer.from("[".repeat(1_000_000)))).toBeGreaterThan(maxDepth);
});
