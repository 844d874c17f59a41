/** A service as its operator meets it: a process with an environment, output, signals and an exit code. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { Client, credentials } from "@grpc/grpc-js";
import { expect, onTestFinished, test } from "vitest";
import { bareEnv } from "../../../test/support/bareEnv.ts";
import { eventually } from "../../../test/support/eventually.ts";

interface Line {
  readonly msg: string;
  readonly [field: string]: unknown;
}

interface Trial {
  readonly process: ChildProcess;
  readonly lines: Line[];
  readonly exit: Promise<{ code: number | null; stderr: string }>;
}

const prelude = `
  import { setTimeout as delay } from "node:timers/promises";
  import { z } from "zod";
  import { unary } from "@capstan/grpc";
  import { baseConfig, runService, spanFor } from "@capstan/service";
  const schema = z.object({
    ...baseConfig,
    CAPSTAN_GRPC_ADDRESS: baseConfig.CAPSTAN_GRPC_ADDRESS.default("127.0.0.1:0"),
    CAPSTAN_HEALTH_ADDRESS: baseConfig.CAPSTAN_HEALTH_ADDRESS.default("127.0.0.1:0"),
    CAPSTAN_TRIAL_MS: z.coerce.number().default(1),
  });
  const text = { requestSerialize: (x) => x, requestDeserialize: (x) => x, responseSerialize: (x) => x, responseDeserialize: (x) => x };
  const definition = { say: { path: "/test.v1.TestService/Say", requestStream: false, responseStream: false, ...text } };
`;

/** Runs a service whose `start(app, config)` has this body, until the test ends. */
function run(body: string, env: NodeJS.ProcessEnv = {}): Trial {
  const code = `${prelude} await runService("trial", schema, async (app, config) => { ${body} });`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", code], {
    cwd: import.meta.dirname,
    env: { ...bareEnv, CAPSTAN_DATABASE_URL: "postgres://localhost/capstan", ...env },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines: Line[] = [];
  createInterface(child.stdout).on("line", (line) =>
    lines.push(line.startsWith("{") ? JSON.parse(line) : { msg: line }),
  );
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const exit = new Promise<{ code: number | null; stderr: string }>((resolve) =>
    child.on("close", (exitCode) => resolve({ code: exitCode, stderr })),
  );
  return { process: child, lines, exit };
}

function lineOf(trial: Trial, message: string): Promise<Line> {
  return eventually(() => {
    const line = trial.lines.find(({ msg }) => msg === message);
    if (line === undefined) throw new Error(`no line ${message} among ${JSON.stringify(trial.lines)}`);
    return line;
  });
}

async function get(line: Line, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://${line["healthAddress"]}${path}`);
  return { status: response.status, text: await response.text() };
}

/** One that nobody listens on now. */
async function freeAddress(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return `127.0.0.1:${port}`;
}

function say(line: Line): Promise<unknown> {
  const client = new Client(String(line["grpcAddress"]), credentials.createInsecure());
  onTestFinished(() => client.close());
  const same = (bytes: Buffer) => bytes;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest("/test.v1.TestService/Say", same, same, Buffer.from("x"), (error, answer) =>
      error === null ? resolve(answer) : reject(error),
    );
  });
}

test("a configuration that is not valid ends it with code 2 and names every variable", async () => {
  const trial = run("", { CAPSTAN_DATABASE_URL: "", CAPSTAN_LOG_LEVEL: "loud", CAPSTAN_TRIAL_MS: "soon" });
  const { code, stderr } = await trial.exit;
  expect(code).toBe(2);
  expect(stderr).toContain("CAPSTAN_DATABASE_URL: is required");
  expect(stderr).toContain("CAPSTAN_LOG_LEVEL");
  expect(stderr).toContain("CAPSTAN_TRIAL_MS");
  expect(trial.lines).toEqual([]);
});

test("it says once that it is ready, whatever the level of its log, and closes in reverse when told to stop", async () => {
  const trial = run(
    `app.onStop(() => console.log("pool closed"));
     app.startLoop({ name: "tick", intervalMs: 1000, once: async () => {} });
     app.onStop(() => console.log("consumer closed"));`,
    { CAPSTAN_LOG_LEVEL: "error" },
  );
  const ready = await lineOf(trial, "ready");
  expect(ready).toMatchObject({
    level: "info",
    service: "trial",
    grpcAddress: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
  });
  trial.process.kill("SIGTERM");
  expect(await trial.exit).toEqual({ code: 0, stderr: "" });
  expect(trial.lines.map(({ msg }) => msg)).toEqual(["ready", "consumer closed", "pool closed"]);
});

test("its side door tells life, readiness with every dependency and loop, and figures of its calls", async () => {
  const trial = run(`
    app.addService(definition, { say: unary(async (request) => request) });
    app.addCheck("nats", async () => {});
    app.startLoop({ name: "relay", intervalMs: 1000, once: async () => {} });
  `);
  const ready = await lineOf(trial, "ready");
  expect(await get(ready, "/healthz")).toEqual({ status: 200, text: '{"ok":true}\n' });
  const { status, text } = await get(ready, "/readyz");
  expect(status).toBe(200);
  expect(JSON.parse(text)).toEqual({
    ready: true,
    services: [
      {
        service: "trial",
        ready: true,
        dependencies: [{ name: "nats", ok: true, durationMs: expect.any(Number) }],
        loops: [{ name: "relay", ok: true, lastPassMs: expect.any(Number) }],
      },
    ],
  });
  expect(await say(ready)).toEqual(Buffer.from("x"));
  expect((await get(ready, "/metrics")).text).toContain(
    'rpc_server_duration_count{service="test.v1.TestService",method="Say",code="OK"} 1',
  );
  expect((await get(ready, "/")).status).toBe(404);
  expect((await fetch(`http://${ready["healthAddress"]}/readyz`, { method: "POST" })).status).toBe(405);
});

test("while it waits for what it needs it lives, says what is missing, and can be stopped", async () => {
  const healthAddress = await freeAddress();
  const trial = run(
    `await app.untilReady("postgres", async () => { throw Object.assign(new Error(), { code: "ECONNREFUSED" }); });`,
    { CAPSTAN_HEALTH_ADDRESS: healthAddress },
  );
  const waiting = { ...(await lineOf(trial, "waiting for a dependency")), healthAddress };
  expect((await get(waiting, "/healthz")).status).toBe(200);
  const { status, text } = await get(waiting, "/readyz");
  expect(status).toBe(503);
  expect(JSON.parse(text).services[0].dependencies).toMatchObject([{ name: "postgres", error: "ECONNREFUSED" }]);
  trial.process.kill("SIGINT");
  expect(await trial.exit).toEqual({ code: 0, stderr: "" });
});

test("a start that fails ends it with code 1, after closing what was opened", async () => {
  const trial = run(`app.onStop(() => console.log("pool closed")); throw new Error("no such schema");`);
  expect((await trial.exit).code).toBe(1);
  expect(trial.lines).toMatchObject([
    { level: "fatal", msg: "start failed", err: { message: "no such schema" } },
    { msg: "pool closed" },
  ]);
});

test("an address that is taken is named", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void taken.close());
  await once(taken, "listening");
  const address = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
  for (const variable of ["CAPSTAN_GRPC_ADDRESS", "CAPSTAN_HEALTH_ADDRESS"]) {
    const trial = run("", { [variable]: address });
    expect((await trial.exit).code).toBe(1);
    expect(trial.lines).toMatchObject([{ refusal: `another process already listens on ${address}` }]);
  }
});

test("the second signal ends it at once, but not one that follows the first like an echo", async () => {
  const trial = run(`app.onStop(() => delay(60_000)); app.onStop(() => console.log("stopping now"));`);
  await lineOf(trial, "ready");
  trial.process.kill("SIGINT");
  trial.process.kill("SIGINT");
  await lineOf(trial, "stopping now");
  await eventually(() => {
    trial.process.kill("SIGINT");
    expect(trial.process.exitCode).toBe(130);
  });
});

test("a defect outside of any call is logged and ends it", async () => {
  const trial = run(`setTimeout(() => { throw new TypeError("x is not a function"); }, 1);`);
  expect((await trial.exit).code).toBe(1);
  expect(trial.lines.at(-1)).toMatchObject({ level: "fatal", msg: "a defect ends the process" });
});

test("its traces go to the collector that is named, and carry on the caller's", async () => {
  const bodies: string[] = [];
  const collector = createServer((request, response) => {
    request.on("data", (chunk: Buffer) => bodies.push(chunk.toString("latin1")));
    request.on("end", () => response.end());
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void collector.close());
  await once(collector, "listening");
  const trial = run(
    `const span = spanFor("settle", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", { jobId: "j" });
     console.log(span.traceparent);
     span.end();
     app.addService(definition, { say: unary(async (_, call) => Buffer.from(String(call.traceparent))) });`,
    { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}` },
  );
  const ready = await lineOf(trial, "ready");
  expect(trial.lines[0]?.msg).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/);
  expect(String(await say(ready))).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  trial.process.kill("SIGTERM");
  expect((await trial.exit).code).toBe(0);
  expect(bodies.join()).toContain("settle");
  expect(bodies.join()).toContain("test.v1.TestService/Say");
});
