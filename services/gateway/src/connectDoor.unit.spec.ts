/** How a call over Connect is passed on; a real client speaks to it in the e2e spec of the gateway. */
import { create, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { serveConnect } from "./connectDoor.ts";
import { readContracts } from "./contracts.ts";
import { createHttpServer, listen } from "./httpServer.ts";
import type { AskOptions, Upstreams } from "./upstreams.ts";

const contracts = readContracts();

test("a call has as long as its client says, or else as it takes with the time that it asks to wait", async () => {
  const asked: AskOptions[] = [];
  const upstreams = {
    async ask({ desc }, _, options) {
      asked.push(options);
      return toBinary(desc.output, create(desc.output));
    },
  } satisfies Partial<Upstreams>;
  const config = { CAPSTAN_HTTP_HOSTS: [], CAPSTAN_HTTP_ORIGINS: [], CAPSTAN_HTTP_TRUSTED_PROXIES: [] };
  const http = await createHttpServer({ ...config, CAPSTAN_HTTP_RATE_LIMIT: 0 }, pino({ level: "silent" }));
  onTestFinished(() => http.close());
  await serveConnect(http, { contracts, upstreams: upstreams as unknown as Upstreams, publicPath: "/" });
  const address = await listen(http, "127.0.0.1:0");
  const call = async (method: string, body: object, headers: Record<string, string> = {}) => {
    const answer = await fetch(`http://${address}/capstan.job.v1.JobService/${method}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
    expect(await answer.json()).toEqual(expect.any(Object));
    expect(answer.status).toBe(200);
  };
  await call("GetJob", { jobId: "x" });
  await call("WaitJob", { jobId: "x", timeout: "60s" });
  await call("WaitJob", { jobId: "x", timeout: "86400s" });
  expect(asked.map(({ deadlineMs }) => deadlineMs)).toEqual([10_000, 70_000, 610_000]);
  await call("WaitJob", { jobId: "x", timeout: "60s" }, { "connect-timeout-ms": "5000" });
  expect(asked.at(-1)?.deadlineMs).toBeLessThanOrEqual(5_000);
});
