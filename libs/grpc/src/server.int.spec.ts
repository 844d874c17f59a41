/** The server and the client as processes meet them: limits, health, reflection, stopping and coming back. */
import { JobServiceService } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { Client, credentials, type ServiceDefinition } from "@grpc/grpc-js";
import { service as healthDefinition } from "grpc-health-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { eventually } from "../../../test/support/eventually.ts";
import { connectTo } from "./client.ts";
import { serveTest, TestServiceClient, testDefinition } from "./testService.ts";

/** Calls a method as any client would that knows nothing of ours. */
function callRaw(port: number, path: string, bytes: Buffer): Promise<Buffer> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  onTestFinished(() => client.close());
  return new Promise((resolve, reject) => {
    const same = (value: Buffer) => value;
    client.makeUnaryRequest(path, same, same, bytes, (error, answer) =>
      error === null ? resolve(answer ?? Buffer.alloc(0)) : reject(error),
    );
  });
}

function connectToHealth(port: number) {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  onTestFinished(() => client.close());
  const { Check, Watch } = healthDefinition as unknown as ServiceDefinition as Record<
    "Check" | "Watch",
    ServiceDefinition[string]
  >;
  return {
    check: (service: string) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          Check.path,
          Check.requestSerialize,
          Check.responseDeserialize,
          { service },
          (error, answer) => (error === null ? resolve(answer) : reject(error)),
        );
      }),
    watch: (service: string) =>
      client.makeServerStreamRequest(Watch.path, Watch.requestSerialize, Watch.responseDeserialize, { service }),
  };
}

describe("limits", () => {
  test("a request of more than 4 MiB is refused, one a little smaller is not", async () => {
    const { client } = await serveTest({ say: async ({ text }) => ({ text: `${text.length}` }) });
    const refused = client.say({ text: "x".repeat(4 * 1024 * 1024) });
    await expect(refused).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(await client.say({ text: "x".repeat(4 * 1024 * 1024 - 100) })).toEqual({ text: `${4 * 1024 * 1024 - 100}` });
  });

  test("metadata of more than 8 KiB is refused before the handler sees the call", async () => {
    const { client } = await serveTest({});
    const refused = client.say({ text: "" }, { metadata: { long: "x".repeat(9_000) } });
    await expect(refused).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "METADATA_TOO_LARGE" });
    expect(await client.say({ text: "ok" }, { metadata: { long: "x".repeat(7_000) } })).toEqual({ text: "ok" });
  });

  test("bytes that are no request are the caller's fault", async () => {
    const { server, logged } = await serveTest({});
    const refused = callRaw(server.port, testDefinition.say.path, Buffer.from("{"));
    await expect(refused).rejects.toMatchObject({ code: 3, details: expect.stringContaining("cannot be decoded") });
    expect(logged).toEqual([]);
  });

  test("a method nobody has is unimplemented", async () => {
    const { server } = await serveTest({});
    await expect(callRaw(server.port, "/test.v1.TestService/Sing", Buffer.alloc(0))).rejects.toMatchObject({
      code: 12,
    });
  });
});

describe("starting", () => {
  test("an address that is taken is named", async () => {
    const { server } = await serveTest({});
    const address = `127.0.0.1:${server.port}`;
    await expect(serveTest({}, { address })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "ADDRESS_IN_USE",
      message: `another process already listens on ${address}`,
    });
  });

  test("a method without an implementation is found at once", async () => {
    const services = [{ definition: testDefinition, implementation: {} }];
    await expect(serveTest({}, { services })).rejects.toThrow("/test.v1.TestService/Say has no implementation");
  });
});

describe("health", () => {
  test("is what the process says of itself, for the server and each service", async () => {
    let isHealthy = true;
    const { server } = await serveTest({}, { health: () => isHealthy });
    const health = connectToHealth(server.port);
    expect(await health.check("")).toEqual({ status: "SERVING" });
    expect(await health.check("test.v1.TestService")).toEqual({ status: "SERVING" });
    isHealthy = false;
    expect(await health.check("")).toEqual({ status: "NOT_SERVING" });
    await expect(health.check("test.v1.Other")).rejects.toMatchObject({ code: 5 });
  });

  test("those who watch are told, and do not hold up the end of the server", async () => {
    const { server } = await serveTest({});
    const told: unknown[] = [];
    const watch = connectToHealth(server.port).watch("");
    const ended = new Promise((resolve) => watch.on("error", resolve));
    watch.on("data", (answer) => told.push(answer));
    await eventually(() => expect(told).toEqual([{ status: "SERVING" }]));
    await server.stop();
    expect(await ended).toMatchObject({ code: 14 });
  });
});

test("reflection lists the services that are served, when asked for", async () => {
  const handlers = Object.keys(JobServiceService).map((name) => [name, () => {}]);
  const services = [{ definition: JobServiceService, implementation: Object.fromEntries(handlers) }];
  const { server } = await serveTest({}, { services, reflection: true });
  // ListServices of grpc.reflection.v1, by hand: field 7 of the request is an empty text.
  const client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  onTestFinished(() => client.close());
  const same = (value: Buffer) => value;
  const stream = client.makeBidiStreamRequest("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", same, same);
  const answer = new Promise<Buffer>((resolve, reject) => stream.on("data", resolve).on("error", reject));
  stream.write(Buffer.from([0x3a, 0x00]));
  expect((await answer).toString("latin1")).toContain("capstan.job.v1.JobService");
  stream.end();
});

describe("stopping", () => {
  test("a call under way gets its answer, and new ones are not taken", async () => {
    const gate = Promise.withResolvers<void>();
    let isCalled = false;
    const { client, server } = await serveTest({
      say: async (request) => {
        isCalled = true;
        await gate.promise;
        return request;
      },
    });
    const answer = client.say({ text: "hi" });
    await eventually(() => isCalled);
    const stopped = server.stop();
    await eventually(() => expect(client.say({ text: "late" })).rejects.toMatchObject({ code: "UNAVAILABLE" }));
    gate.resolve();
    expect(await answer).toEqual({ text: "hi" });
    await stopped;
  });

  test("a call that does not end in time is cut off, and knows it", async () => {
    let reason: unknown;
    const { client, server, logged } = await serveTest(
      {
        say: (_, { signal }) => {
          const given = Promise.withResolvers<never>();
          signal.addEventListener("abort", () => {
            reason = signal.reason;
            given.reject(signal.reason);
          });
          setImmediate(() => void server.stop());
          return given.promise;
        },
      },
      { drainMs: 50 },
    );
    await expect(client.say({ text: "" })).rejects.toBeInstanceOf(Error);
    await eventually(() => expect(reason).toMatchObject({ code: "CANCELLED" }));
    expect(logged.map(({ message }) => message)).toEqual(["calls are cut off, they did not end in time"]);
  });
});

describe("the client", () => {
  test("says that a server is not there, and finds it when it comes", async () => {
    const { server } = await serveTest({});
    await server.stop();
    const address = `127.0.0.1:${server.port}`;
    const client = connectTo(TestServiceClient, address);
    onTestFinished(() => client.close());
    await expect(client.say({ text: "" })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await serveTest({}, { address });
    await eventually(async () => expect(await client.say({ text: "back" })).toEqual({ text: "back" }));
  });

  test("goes on with a server that was replaced", async () => {
    const { client, server } = await serveTest({});
    await client.say({ text: "" });
    await server.stop();
    await serveTest({}, { address: `127.0.0.1:${server.port}` });
    await eventually(async () => expect(await client.say({ text: "back" })).toEqual({ text: "back" }));
  });

  test("is told by its deadline when the server says nothing", async () => {
    const { server } = await serveTest({ say: () => new Promise(() => {}) });
    const client = connectTo(TestServiceClient, `127.0.0.1:${server.port}`, { deadlineMs: 50 });
    onTestFinished(() => client.close());
    await expect(client.say({ text: "" })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });
});
