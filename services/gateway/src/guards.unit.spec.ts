import { expect, test } from "vitest";
import { createGuards } from "./guards.ts";
import { toProblem } from "./problem.ts";

const guards = createGuards({ hosts: ["capstan.example"], origins: ["https://console.example"] });

test.each([
  { host: "127.0.0.1:7170" },
  { host: "localhost:7170" },
  { host: "LOCALHOST" },
  { host: "[::1]:7170" },
  { host: "10.0.0.7" },
  { host: "capstan.example" },
  { host: "capstan.example:443", origin: "https://console.example" },
  { host: "127.0.0.1:7170", origin: "http://127.0.0.1:7170" },
  { host: "capstan.example", origin: "https://capstan.example" },
])("%o may call", (headers) => {
  expect(() => guards.check(headers)).not.toThrow();
});

test.each([
  { host: undefined },
  { host: "" },
  { host: "evil.example" },
  { host: "capstan.example.evil.example" },
  { host: "127.0.0.1.evil.example" },
  { host: "evil.example@127.0.0.1:x" },
])("the name in %o is not ours", (headers) => {
  expect(() => guards.check(headers)).toThrow("Host");
});

test.each([
  "https://evil.example",
  "null",
  "http://127.0.0.1:8080",
  "http://localhost:7170",
  "file://",
  "",
])("a page of %j may not call", (origin) => {
  expect(() => guards.check({ host: "127.0.0.1:7170", origin })).toThrow("Origin");
});

test("a refusal is a problem with all it knows, and what is none hides its inside", () => {
  const request = { path: "/api/v1/jobs", requestId: "r" };
  const { problem, headers } = toProblem(Object.assign(new Error("host 10.0.0.7"), { code: "ECONNREFUSED" }), request);
  expect(problem).toMatchObject({ status: 503, reason: "DEPENDENCY_UNAVAILABLE", retryAfterMs: 500, requestId: "r" });
  expect(headers).toMatchObject({ "retry-after": "1", "content-type": "application/problem+json" });
  expect(JSON.stringify(toProblem(new Error("secret"), request))).not.toContain("secret");
});
