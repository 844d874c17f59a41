/** The one gRPC address, and what clients of the gateway see while something behind it, or the gateway itself, is away. */
import { connect } from "@capstan/client";
import { DomainError } from "@capstan/errors";
import { connectTo } from "@capstan/grpc";
import { JobServiceClient } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readContracts } from "../../services/gateway/src/contracts.ts";
import { eventually } from "../support/eventually.ts";
import { getJob, readLog, run, sh, submit, untilEnded } from "../support/jobs.ts";
import { askApi, useGateway } from "../support/useGateway.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();
const gateway = useGateway(platform);
const contracts = readContracts();

describe("the one gRPC address", () => {
  let capstan: ReturnType<typeof connect>;
  beforeAll(() => {
    capstan = connect({ address: gateway().process.grpcAddress, deadlineMs: 30_000 });
  });
  afterAll(() => capstan?.close());

  test("a client that knows only it submits, watches, reads logs, and has a worker that runs a handler", async () => {
    const job = await run(capstan, sh("for i in $(seq 2000); do echo line $i; done"));
    expect(job.state).toBe("JOB_STATE_SUCCEEDED");
    const facts: number[] = [];
    for await (const { event } of capstan.jobs.watchJob({ jobId: job.id, afterSequence: 0 }))
      facts.push(event?.sequence ?? 0);
    expect(facts).toEqual([1, 2, 3]);
    const { stdout } = await readLog(capstan, job.steps[0]?.executionId ?? "");
    expect(stdout.split("\n")).toHaveLength(2_001);
    const worker = await capstan.worker({
      pool: "door",
      slots: 2,
      handlers: { double: (input: unknown) => Number(input) * 2 },
    });
    const handled = await capstan.jobs.submit({ name: "double", handler: "double", input: 21 });
    expect(await handled.result()).toBe(42);
    await worker.stop();
  });

  test("a refusal comes with all its details, and a deadline holds behind it too", async () => {
    const refusal = await submit(capstan, { command: [] }, { name: "" }).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(DomainError);
    expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELDS" });
    expect((refusal as DomainError).fields.length).toBeGreaterThan(1);
    const job = await submit(capstan, sh("sleep 60"));
    const jobs = connectTo(JobServiceClient, gateway().process.grpcAddress);
    const waiting = jobs.waitJob({ jobId: job.id, timeout: { seconds: 60, nanos: 0 } }, { deadlineMs: 2_000 });
    // It answers just before the deadline of its caller, which it could not if it did not know of it.
    expect(await waiting).toMatchObject({ done: false });
    jobs.close();
    await capstan.jobs.cancelJob({ jobId: job.id, message: "" });
    expect((await untilEnded(capstan, job)).state).toBe("JOB_STATE_CANCELLED");
  });

  test("every public RPC of every context is answered there, and no internal one", async () => {
    const client = new Client(gateway().process.grpcAddress, credentials.createInsecure());
    const same = (bytes: Buffer) => bytes;
    const codeOf = (path: string) =>
      new Promise<number>((resolve) => {
        const options = { deadline: Date.now() + 20_000 };
        client.makeUnaryRequest(path, same, same, Buffer.alloc(0), new Metadata(), options, (error) =>
          resolve(error?.code ?? 0),
        );
      });
    const unary = contracts.rpcs.filter(({ desc }) => desc.methodKind === "unary");
    const codes = await Promise.all(unary.map(async ({ path }) => [path, await codeOf(path)] as const));
    for (const [path, code] of codes) expect([0, 3, 5, 9], `${path} answered ${code}`).toContain(code);
    expect(await codeOf("/capstan.job.v1.JobInternalService/ReportExecutions")).toBe(12);
    client.close();
  });

  test.each([
    ["Connect", createConnectTransport],
    ["gRPC-Web", createGrpcWebTransport],
  ] as const)("%s answers calls, streams and refusals over HTTP/1.1", async (_, createTransport) => {
    const job = await run(capstan, sh("true"));
    const service = contracts.services.find(({ name }) => name === "JobService");
    if (service === undefined) throw new Error("the contracts have no JobService");
    const transport = createTransport({ baseUrl: gateway().url, httpVersion: "1.1" });
    // biome-ignore lint/suspicious/noExplicitAny: the client is made of descriptors, which have no types.
    const client = createClient(service, transport) as any;
    expect(await client.getJob({ jobId: job.id })).toMatchObject({ job: { id: job.id, sequence: 3 } });
    const types: string[] = [];
    for await (const { event } of client.watchJob({ jobId: job.id })) types.push(event.type.split(".").at(-1));
    expect(types).toEqual(["submitted", "started", "succeeded"]);
    const refusal = ConnectError.from(await client.getJob({ jobId: "nothing" }).catch((error: unknown) => error));
    expect(refusal.code).toBe(Code.NotFound);
    expect(refusal.details).toMatchObject([{ type: "google.rpc.ErrorInfo" }, { type: "google.rpc.ResourceInfo" }]);
  });
});

test("while a context is away its calls are refused with 503 and when to try again, and the others go on", async () => {
  const { services } = platform();
  await services.provider.kill("SIGTERM");
  const away = await askApi(gateway(), "/providers");
  expect(away.json).toMatchObject({
    status: 503,
    code: "UNAVAILABLE",
    reason: "SERVICE_UNAVAILABLE",
    metadata: { service: "provider" },
    retryAfterMs: 1_000,
  });
  expect(away.headers.get("retry-after")).toBe("1");
  expect(JSON.stringify(away.json)).not.toMatch(/127\.0\.0\.1|ECONN/);
  expect((await askApi(gateway(), "/jobs")).status).toBe(200);
  const { json } = await askApi(gateway(), "/system/health");
  expect(json).toMatchObject({ state: "HEALTH_STATE_DEGRADED" });
  expect(json.parts).toContainEqual(
    expect.objectContaining({ name: "provider", state: "HEALTH_STATE_DOWN", reason: "UNAVAILABLE" }),
  );
  expect((await askApi(gateway(), "/system/findings")).json.checkups).toHaveLength(3);
  const door = connect({ address: gateway().process.grpcAddress });
  const refused = await door.providers.getProvider({ provider: "local" }).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: "UNAVAILABLE", reason: "SERVICE_UNAVAILABLE" });
  door.close();
  await services.provider.start();
  await eventually(async () => expect((await askApi(gateway(), "/providers")).status).toBe(200));
});

test("killed, the gateway loses nothing: it keeps nothing but its sessions", async () => {
  const { json } = await askApi(gateway(), "/jobs", {
    body: { spec: { name: "kept", steps: [{ command: ["sleep", "2"] }] } },
  });
  await gateway().process.restart("SIGKILL");
  const { json: after } = await askApi(gateway(), `/jobs/${json.job.id}:wait?timeout=30s`);
  expect(after).toMatchObject({ done: true, job: { state: "JOB_STATE_SUCCEEDED" } });
});

test("told to stop, it ends the calls under way and takes no new ones", async () => {
  const job = await submit(platform().capstan, sh("sleep 3"));
  await eventually(async () => expect((await getJob(platform().capstan, job.id)).state).toBe("JOB_STATE_RUNNING"));
  const waiting = askApi(gateway(), `/jobs/${job.id}:wait?timeout=20s`);
  await eventually(async () => {
    const { json } = await askApi(gateway(), "/system/metrics?prefix=rpc");
    expect(json.metrics).toBeDefined();
  });
  const ended = gateway().process.kill("SIGTERM");
  expect((await waiting).json).toMatchObject({ done: true, job: { state: "JOB_STATE_SUCCEEDED" } });
  expect(await ended).toBe(0);
  await expect(askApi(gateway(), "/jobs")).rejects.toThrow();
});
