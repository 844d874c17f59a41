/** What every request meets before anybody knows what it asks for; requests are put in without a socket, but for one. */
import { request } from "node:http";
import { text } from "node:stream/consumers";
import websocket from "@fastify/websocket";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { createHttpServer, listen, maxBodyBytes, maxUrlBytes } from "./httpServer.ts";
import { maxDepth } from "./jsonBody.ts";

async function open(config: { limit?: number; origins?: readonly string[] } = {}) {
  const http = await createHttpServer(
    {
      CAPSTAN_HTTP_HOSTS: [],
      CAPSTAN_HTTP_ORIGINS: [...(config.origins ?? [])],
      CAPSTAN_HTTP_TRUSTED_PROXIES: [],
      CAPSTAN_HTTP_RATE_LIMIT: config.limit ?? 1_000,
    },
    pino({ level: "silent" }),
  );
  http.all("/echo", async ({ body }) => ({ body }));
  http.get("/broken", async () => {
    throw new Error("select * from secret at 10.0.0.7");
  });
  onTestFinished(() => http.close());
  return http;
}

const headers = { host: "127.0.0.1:7170", "content-type": "application/json" };

test.each([
  ["no JSON", '{"a":', "BODY_NOT_JSON"],
  ["two values", "{} {}", "BODY_NOT_JSON"],
  ["no UTF-8", Buffer.from([0x22, 0xff, 0x22]), "BODY_NOT_JSON"],
  ["__proto__", '{"a":{"__proto__":{"x":1}}}', "BODY_NOT_JSON"],
  ["constructor.prototype", '{"constructor":{"prototype":{"x":1}}}', "BODY_NOT_JSON"],
  ["too deep", "[".repeat(maxDepth + 1) + "]".repeat(maxDepth + 1), "BODY_TOO_DEEP"],
  ["far too deep", "[".repeat(1_000_000), "BODY_TOO_DEEP"],
])("a body that is %s is refused, without a piece of it in the answer", async (_, payload, reason) => {
  const http = await open();
  const answer = await http.inject({ method: "POST", url: "/echo", headers, payload });
  expect(answer.statusCode).toBe(400);
  expect(answer.headers["content-type"]).toBe("application/problem+json");
  expect(answer.json()).toMatchObject({ status: 400, reason, domain: "capstan", instance: "/echo" });
});

test("a body at the limit of depth is taken, and one beyond the limit of size is not", async () => {
  const http = await open();
  const deep = "[".repeat(maxDepth) + "]".repeat(maxDepth);
  expect((await http.inject({ method: "POST", url: "/echo", headers, payload: deep })).statusCode).toBe(200);
  const payload = `"${"x".repeat(maxBodyBytes)}"`;
  const large = await http.inject({ method: "POST", url: "/echo", headers, payload });
  expect(large.json()).toMatchObject({
    status: 413,
    reason: "BODY_TOO_LARGE",
    detail: expect.stringContaining("4194304"),
  });
});

test.each([
  "text/plain",
  "application/x-www-form-urlencoded",
  "multipart/form-data; boundary=x",
  "application/xml",
])("a body of type %s, which other pages can send, is refused", async (type) => {
  const http = await open();
  const request = {
    method: "POST",
    url: "/echo",
    headers: { ...headers, "content-type": type },
    payload: "{}",
  } as const;
  expect((await http.inject(request)).json()).toMatchObject({ status: 415, reason: "CONTENT_TYPE_NOT_SUPPORTED" });
});

test("a URL that is too long or no URL is refused", async () => {
  const http = await open();
  const long = await http.inject({ url: `/echo?x=${"x".repeat(maxUrlBytes)}`, headers });
  expect(long.json()).toMatchObject({ status: 414, reason: "URL_TOO_LONG" });
  expect((await http.inject({ url: "/%zz", headers })).json()).toMatchObject({ status: 400, reason: "URL_NOT_VALID" });
});

test("a defect shows nothing of its inside", async () => {
  const http = await open();
  const answer = await http.inject({ url: "/broken", headers });
  expect(answer.json()).toMatchObject({ status: 500, reason: "INTERNAL", detail: "internal error" });
  expect(answer.body).not.toMatch(/secret|10\.0/);
});

test("the id of a request is the caller's where it has the form of one, and is answered", async () => {
  const http = await open();
  const ask = async (id: string) =>
    (await http.inject({ url: "/echo", headers: { ...headers, "x-request-id": id } })).headers["x-request-id"];
  expect(await ask("my.request:1")).toBe("my.request:1");
  expect(await ask("a b\tc")).toMatch(/^[0-9a-f-]{36}$/);
  expect(await ask("x".repeat(129))).toMatch(/^[0-9a-f-]{36}$/);
});

test("who asks too often is told when to come back, and the headers count down truly", async () => {
  const http = await open({ limit: 3 });
  const ask = () => http.inject({ url: "/echo", headers });
  for (const left of [2, 1, 0]) {
    const { statusCode, headers: said } = await ask();
    expect(statusCode).toBe(200);
    expect(said["ratelimit-policy"]).toBe('"default";q=3;w=10');
    expect(said["ratelimit"]).toMatch(new RegExp(`^"default";r=${left};t=(10|9)$`));
  }
  const refused = await ask();
  expect(refused.json()).toMatchObject({ status: 429, reason: "RATE_LIMITED", metadata: { limit: "3" } });
  expect(Number(refused.headers["retry-after"])).toBeGreaterThanOrEqual(9);
  expect(refused.headers["ratelimit"]).toMatch(/r=0/);
});

test("0 is no limit", async () => {
  const http = await open({ limit: 0 });
  expect((await http.inject({ url: "/echo", headers })).headers).not.toHaveProperty("ratelimit");
});

test("a page that is listed may read and is told what else; another is refused", async () => {
  const http = await open({ origins: ["https://console.example"] });
  const ask = (origin: string, method: "GET" | "OPTIONS" = "GET") =>
    http.inject({ method, url: "/echo", headers: { ...headers, origin, "access-control-request-method": "POST" } });
  const listed = await ask("https://console.example");
  expect(listed.headers["access-control-allow-origin"]).toBe("https://console.example");
  expect(listed.headers["access-control-expose-headers"]).toContain("ETag");
  const preflight = await ask("https://console.example", "OPTIONS");
  expect(preflight.statusCode).toBe(204);
  expect(preflight.headers["access-control-allow-methods"]).toContain("DELETE");
  for (const method of ["GET", "OPTIONS"] as const) {
    const foreign = await ask("https://evil.example", method);
    expect(foreign.json()).toMatchObject({ status: 403, reason: "ORIGIN_NOT_ALLOWED" });
    expect(foreign.headers).not.toHaveProperty("access-control-allow-origin");
  }
});

test("a client that offers HTTP/2 is answered in HTTP/1.1, its body read", async () => {
  const http = await open();
  await http.register(websocket);
  const address = await listen(http, "127.0.0.1:0");
  const offered = {
    connection: "Upgrade, HTTP2-Settings",
    upgrade: "h2c",
    "http2-settings": "AAMAAABkAARAAAAAAAIAAAAA",
  };
  const answer = await new Promise<string>((resolve, reject) => {
    const asked = request(`http://${address}/echo`, {
      method: "POST",
      headers: { ...offered, "content-type": "application/json" },
    });
    asked.on("response", (response) => resolve(text(response)));
    asked.on("error", reject);
    asked.end('{"a":1}');
  });
  expect(JSON.parse(answer)).toEqual({ body: { a: 1 } });
});
