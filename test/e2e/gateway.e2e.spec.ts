/**
 * The gateway as its clients meet it: a client generated from its OpenAPI document, curl as the README shows it, headers, pages, and bad
 * input. Every answer is checked against its schema on the way out.
 */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { OpenAPIClientAxios } from "openapi-client-axios";
import { expect, test } from "vitest";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { askApi, type HttpAsk, useGateway } from "../support/useGateway.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();
const gateway = useGateway(platform);
const ask = (path: string, options?: HttpAsk) => askApi(gateway(), path, options);

const sh = (line: string) => ({ name: "example", steps: [{ command: ["sh", "-c", line] }] });

async function submit(spec: object, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const { status, json } = await ask("/jobs", { body: { spec }, headers });
  expect(json).toMatchObject({ job: { id: expect.any(String) } });
  expect(status).toBe(200);
  return json.job.id;
}

test("a client that is generated from the OpenAPI document runs a job and reads all of it", async () => {
  const definition = `${gateway().url}/api/openapi.json`;
  const client = await new OpenAPIClientAxios({ definition, withServer: { url: gateway().url } }).init();
  const call = async (id: string, parameters: object | null, body?: object) => {
    const operation = client[id];
    if (operation === undefined) throw new Error(`the document has no operation ${id}`);
    return (await operation(parameters as never, body as never)).data;
  };
  const { job } = await call("submitJob", null, { spec: sh('echo "out"; echo CAPSTAN_OUTPUT=42') });
  const jobId = job.id as string;
  expect(await call("waitJob", { jobId, timeout: "30s" })).toMatchObject({ done: true, job: { result: 42 } });
  const { steps } = await call("listSteps", { jobId });
  const { executionId } = steps[0];
  expect(await call("getExecution", { executionId })).toMatchObject({ execution: { exitCode: 0, jobId } });
  const { chunks, nextPageToken } = await call("readLogs", { executionId });
  expect(Buffer.from(chunks[0].data, "base64").toString()).toBe("out\nCAPSTAN_OUTPUT=42\n");
  expect(nextPageToken).toBe("");
  const { events } = await call("listJobEvents", { jobId });
  expect(events.at(-1)).toMatchObject({ type: "capstan.job.v1.job.succeeded" });
  expect(await call("explainJob", { jobId })).toMatchObject({ attempts: [] });
  expect(await call("rerunJob", { jobId }, { requestId: "r1" })).toMatchObject({ job: { rerunOf: jobId } });
  for (const list of [
    "listProviders",
    "listQueues",
    "listSchedules",
    "listTemplates",
    "listWorkers",
    "listSagas",
    "listDeadLetters",
  ]) {
    expect(await call(list, { pageSize: 1 }), list).toHaveProperty("nextPageToken");
  }
  expect(await call("getSagaStats", null)).toHaveProperty("live.parked", 0);
});

test("many jobs in one call are answered one by one, and listed in pages that a filter belongs to", async () => {
  const requests = Array.from({ length: 5 }, (_, at) => ({
    spec: { ...sh("true"), labels: { batch: "pages", at: `${at}` } },
  }));
  const { json } = await ask("/jobs:batchSubmit", { body: { requests: [...requests, { spec: { name: "" } }] } });
  expect(json.results.map((result: object) => Object.keys(result)[0])).toEqual([
    ...requests.map(() => "accepted"),
    "refused",
  ]);
  const filter = encodeURIComponent('labels.batch = "pages"');
  const ids: string[] = [];
  let token = "";
  do {
    const page = await ask(`/jobs?pageSize=2&filter=${filter}&pageToken=${token}`);
    ids.push(...page.json.jobs.map((job: { id: string }) => job.id));
    token = page.json.nextPageToken;
  } while (token !== "");
  expect(new Set(ids).size).toBe(5);
  const first = await ask(`/jobs?pageSize=2&filter=${filter}`);
  const elsewhere = await ask(`/jobs?pageSize=2&pageToken=${first.json.nextPageToken}`);
  expect(elsewhere.json).toMatchObject({ status: 400, reason: "INVALID_FIELDS", errors: [{ field: "pageToken" }] });
});

test("a call with an idempotency key is made once, and the same key with other content is a conflict", async () => {
  const headers = { "idempotency-key": "gateway-1" };
  const first = await submit(sh("true"), headers);
  expect(await submit(sh("true"), headers)).toBe(first);
  const other = await ask("/jobs", { body: { spec: sh("false") }, headers });
  expect(other.json).toMatchObject({
    status: 409,
    code: "ALREADY_EXISTS",
    resource: { type: "capstan.job.v1.Job", name: first },
  });
});

test("an ETag saves reading again what is the same, and keeps from overwriting what is not", async () => {
  const before = await ask("/providers/local");
  const etag = before.headers.get("etag") ?? "";
  expect(etag).toBe(`"${before.json.provider.etag}"`);
  expect((await ask("/providers/local", { headers: { "if-none-match": etag } })).status).toBe(304);
  const change = (labels: object, headers: Readonly<Record<string, string>>) =>
    ask("/providers/local", { method: "PATCH", body: { labels, updateMask: "labels" }, headers });
  const changed = await change({ zone: "a" }, { "if-match": etag });
  expect(changed.json).toMatchObject({ provider: { labels: { zone: "a" } } });
  expect(changed.headers.get("etag")).not.toBe(etag);
  const late = await change({ zone: "b" }, { "if-match": etag });
  expect(late.json).toMatchObject({ status: 412, code: "ABORTED", title: "Precondition Failed" });
  expect((await change({}, { "if-match": "*" })).status).toBe(200);
});

test("the id of a request is answered, and the trace of a caller is that of its job", async () => {
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const { headers, json } = await ask("/jobs", {
    body: { spec: sh("true") },
    headers: { traceparent, "x-request-id": "trace-me" },
  });
  expect(headers.get("x-request-id")).toBe("trace-me");
  const rows = await queryOnce(
    platform().database.adminUrl,
    "select traceparent from job.event where aggregate_id = $1 and sequence = 1",
    [json.job.id],
  );
  expect(rows).toEqual([{ traceparent }]);
});

test("the page and the document are there, and HEAD asks for less", async () => {
  const page = await fetch(`${gateway().url}/api/docs`);
  expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(await page.text()).toContain("submitJob");
  const head = await fetch(`${gateway().url}/api/v1/jobs`, { method: "HEAD" });
  expect({ status: head.status, body: await head.text() }).toEqual({ status: 200, body: "" });
});

test("what the platform is made of says how it is, and what it found when it last looked", async () => {
  const { json: health } = await ask("/system/health");
  const names = health.parts.map(({ name }: { name: string }) => name);
  expect(health.state).toBe("HEALTH_STATE_HEALTHY");
  expect(names).toEqual(["execution", "job", "nats", "orchestrator", "postgres", "provider"]);
  expect((await ask("/system/info")).json).toMatchObject({ apiVersion: "v1", limits: { maxDepth: 64 } });
  const { json: findings } = await ask("/system/findings");
  const services = findings.checkups.map(({ service }: { service: string }) => service);
  expect(services.sort()).toEqual(["execution", "job", "orchestrator", "provider"]);
  const { json: figures } = await ask("/system/metrics?prefix=http.");
  expect(figures.metrics).toMatchObject([{ name: "http.server.request.duration", unit: "ms" }]);
});

test("the curl examples of the README do what they say", async () => {
  const readme = readFileSync(join(import.meta.dirname, "../../README.md"), "utf8");
  const [, block = ""] = /## Over HTTP\n[\s\S]*?```sh\n([\s\S]*?)```/.exec(readme) ?? [];
  const lines = block
    .replaceAll("\\\n", "")
    .split("\n")
    .filter((line) => line.includes("curl"));
  expect(lines.length).toBeGreaterThan(5);
  let id = "";
  for (const line of lines) {
    const here = line.replaceAll("localhost:7170", new URL(gateway().url).host).replaceAll("$id", id);
    const { stdout } = await promisify(execFile)("sh", ["-c", here], { timeout: 30_000 });
    if (line.includes("events:watch")) {
      expect(stdout, line).toContain("capstan.job.v1.job.succeeded");
      continue;
    }
    const json = JSON.parse(stdout) as { reason?: string; domain?: string; job?: { id: string } };
    expect(json.domain, `${line}\n${stdout}`).toBeUndefined();
    if (id === "") id = json.job?.id ?? "";
  }
});

test.each([
  ["a job that is none", "/jobs/nothing", {}, 404, "JOB_NOT_FOUND"],
  ["an id with a quote and a comment", `/jobs/${encodeURIComponent("' or 1=1 --")}`, {}, 404, "JOB_NOT_FOUND"],
  ["a path that is none", "/nothing", {}, 404, "PATH_NOT_FOUND"],
  ["an action that is none", "/jobs/a:fly", { body: {} }, 404, "PATH_NOT_FOUND"],
  ["a method that is none", "/jobs", { method: "DELETE" }, 405, "METHOD_NOT_ALLOWED"],
  ["a parameter that is none", "/jobs?page_size=1", {}, 400, "INVALID_FIELDS"],
  ["a filter that is none", "/jobs?filter=state%20~%201", {}, 400, "INVALID_FIELDS"],
  ["a page token that is none", "/jobs?pageToken=abc", {}, 400, "INVALID_FIELDS"],
  ["a body that is a list", "/jobs", { body: [] }, 400, "INVALID_FIELDS"],
  ["a body where none is taken", "/providers/local", { method: "DELETE", body: { a: 1 } }, 400, "INVALID_FIELDS"],
  ["an unknown enum", "/providers", { body: { name: "x", kind: "BARE_METAL" } }, 400, "INVALID_FIELDS"],
  [
    "a time that is none",
    "/jobs",
    { body: { spec: { ...sh("true"), notBefore: "2026-02-31T00:00:00Z" } } },
    400,
    "INVALID_FIELDS",
  ],
  ["text that cannot be stored", "/jobs", { body: { spec: { ...sh("true"), source: "a\0b" } } }, 400, "INVALID_FIELDS"],
  ["a foreign page", "/jobs", { headers: { origin: "https://evil.example" } }, 403, "ORIGIN_NOT_ALLOWED"],
  [
    "a state that does not allow it",
    "/sagas/00000000-0000-5000-8000-000000000000:retry",
    { body: {} },
    404,
    "SAGA_NOT_FOUND",
  ],
] as const)("%s is refused as a problem", async (_, path, options, status, reason) => {
  const { json, headers } = await ask(path, options);
  expect(json).toMatchObject({ status, reason, domain: "capstan", requestId: headers.get("x-request-id") });
  expect(headers.get("content-type")).toBe("application/problem+json");
  if (reason === "INVALID_FIELDS") expect(json.errors.length).toBeGreaterThan(0);
  if (status === 405) expect(headers.get("allow")).toBe("GET, HEAD, POST");
});

test("all that a context finds wrong comes at once, in the names of JSON", async () => {
  const spec = { name: "", steps: [{ command: ["true"], workingDirectory: "relative" }], priority: 1_000 };
  const { json } = await ask("/jobs", { body: { spec } });
  const fields = json.errors.map(({ field }: { field: string }) => field);
  expect(fields).toEqual(expect.arrayContaining(["spec.name", "spec.steps[0].workingDirectory", "spec.priority"]));
});

/** Sends bytes, and gives back all that comes until the connection ends. */
function sendRaw(text: string): Promise<string> {
  const { hostname, port } = new URL(gateway().url);
  return new Promise((resolve, reject) => {
    const socket = connectSocket(Number(port), hostname, () => socket.write(text));
    let received = "";
    socket.on("data", (bytes) => {
      received += bytes;
    });
    socket.on("close", () => resolve(received));
    socket.on("error", reject);
  });
}

test("what is no HTTP, has too many headers or another name than ours is refused and cut off", async () => {
  expect(await sendRaw("hello\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 .*REQUEST_NOT_HTTP/s);
  const headers = `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${"x".repeat(17_000)}\r\n\r\n`;
  expect(await sendRaw(headers)).toMatch(/^HTTP\/1\.1 431 .*16384.*HEADERS_TOO_LARGE/s);
  const rebound = "GET /api/v1/jobs HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
  expect(await sendRaw(rebound)).toMatch(/^HTTP\/1\.1 421 .*HOST_NOT_ALLOWED/s);
});

test("a client that goes away takes its call along", async () => {
  const id = await submit(sh("sleep 60"));
  const waiting = new AbortController();
  const wait = fetch(`${gateway().url}/api/v1/jobs/${id}:wait?timeout=60s`, { signal: waiting.signal });
  const countOf = async () => {
    const text = await (await fetch(`http://${platform().services.job.healthAddress}/metrics`)).text();
    return Number(/rpc_server_duration\w*_count\{.*method="WaitJob",code="CANCELLED"\} (\d+)/.exec(text)?.[1] ?? 0);
  };
  const before = await countOf();
  await eventually(async () => expect((await ask(`/jobs/${id}`)).json.job.state).toBe("JOB_STATE_RUNNING"));
  waiting.abort();
  await expect(wait).rejects.toThrow();
  await eventually(async () => expect(await countOf()).toBe(before + 1));
  expect((await ask(`/jobs/${id}:cancel`, { method: "POST" })).status).toBe(200);
});
