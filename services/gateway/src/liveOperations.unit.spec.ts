/** The live paths of the document against those that are served: the same paths, and parameters that are taken. */
import { DomainError } from "@capstan/errors";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { readComments, readContracts } from "./contracts.ts";
import { createHttpServer } from "./httpServer.ts";
import { writeOpenApi } from "./openApi.ts";
import { serveEventStreams } from "./sseRoutes.ts";

interface Parameter {
  readonly name: string;
  readonly in: string;
}

interface Operation {
  readonly parameters: readonly Parameter[];
  readonly responses: Readonly<Record<string, { readonly content?: object }>>;
}

const { paths } = writeOpenApi({
  contracts: readContracts(),
  comments: readComments(),
  version: "0.1.0",
  publicPath: "/",
}) as { paths: Readonly<Record<string, { readonly get?: Operation }>> };
const streams = Object.entries(paths).flatMap(([path, { get }]) =>
  get !== undefined && "text/event-stream" in (get.responses[200]?.content ?? {}) ? [{ path, ...get }] : [],
);

const examples: Readonly<Record<string, string>> = {
  client: "client=test",
  metadata: "metadata.page=jobs",
  afterSequence: "afterSequence=3",
  replay: "replay=3",
  lastEventId: "lastEventId=a-1-a",
  jobId: "jobId=01a1ff42-0000-7000-8000-000000000000",
  types: "types=job.succeeded,job.*",
  states: "states=FAILED,TIMED_OUT",
  queue: "queue=default",
  labels: "labels.team=red",
};

/** Whoever asks rightly is told that the gateway is stopping. */
async function open() {
  const config = { CAPSTAN_HTTP_HOSTS: [], CAPSTAN_HTTP_ORIGINS: [], CAPSTAN_HTTP_TRUSTED_PROXIES: [] };
  const http = await createHttpServer({ ...config, CAPSTAN_HTTP_RATE_LIMIT: 0 }, pino({ level: "silent" }));
  const served: string[] = [];
  http.addHook("onRoute", ({ url }) => void served.push(url));
  const refuseIfStopping = () => {
    throw new DomainError({ code: "UNAVAILABLE", reason: "SERVER_STOPPING", message: "" });
  };
  const deps = { clients: { refuseIfStopping }, limits: { maxReplay: 10 } };
  serveEventStreams(http, "/api/v1/", deps as unknown as Parameters<typeof serveEventStreams>[2]);
  onTestFinished(() => http.close());
  return { http, served };
}

test("every stream that is served is in the document, and no other", async () => {
  const { served } = await open();
  const written = served.map((url) =>
    url
      .replaceAll(/(?<=\/):(\w+)/g, "{$1}")
      .replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
      .replaceAll("::", ":"),
  );
  expect(streams.map(({ path }) => path).sort()).toEqual(written.sort());
});

test.each(streams)("$path takes what the document says, and nothing else", async ({ path, parameters }) => {
  const { http } = await open();
  const ask = (query: string) =>
    http.inject({ url: `${path.replace(/\{\w+\}/, "x")}?${query}`, headers: { host: "127.0.0.1" } });
  const names = parameters.filter(({ in: place }) => place === "query").map(({ name }) => name);
  for (const [name, query] of Object.entries(examples)) {
    const { reason } = (await ask(query)).json();
    expect({ name, reason }).toEqual({ name, reason: names.includes(name) ? "SERVER_STOPPING" : "INVALID_FIELDS" });
  }
  expect(Object.keys(examples)).toEqual(expect.arrayContaining(names));
});

test("the WebSocket is in it, with what is said of it elsewhere", () => {
  const { responses, parameters, ...said } = paths["/api/v1/live"]?.get ?? { responses: {}, parameters: [] };
  expect(Object.keys(responses)).toContain("101");
  expect(parameters.map(({ name }) => name)).toEqual(["client", "metadata"]);
  expect(said).toMatchObject({ description: expect.stringContaining("docs/live.md") });
});
