import { expect, test } from "vitest";
import { isChosen, toCloudEvent } from "./cloudEvent.ts";

const headers = new Map([
  ["ce-id", "e1"],
  ["ce-type", "capstan.job.v1.job.started"],
  ["ce-subject", "j1"],
  ["ce-sequence", "2"],
  ["ce-correlationid", "j1"],
]);
const read = (data: string) => toCloudEvent({ get: (name) => headers.get(name) ?? "" }, Buffer.from(data));

test("headers and body become one event", () => {
  expect(read('{"a":1}')).toMatchObject({ id: "e1", subject: "j1", sequence: 2, tenant: "", data: { a: 1 } });
});

test("a body that is not JSON is shown as it is", () => {
  expect(read("oops").data).toBe("oops");
});

test.each([
  [{}, true],
  [{ type: "job.*" }, true],
  [{ type: "job.started" }, true],
  [{ type: "*.started" }, true],
  [{ type: "capstan.job.v1.job.started" }, true],
  [{ type: "job" }, false],
  [{ type: "jobxstarted" }, false],
  [{ type: "step.*" }, false],
  [{ job: "j1" }, true],
  [{ job: "j2" }, false],
  [{ type: "job.*", job: "j2" }, false],
])("%j chooses it: %s", (choice, expected) => {
  expect(isChosen(read("{}"), choice)).toBe(expected);
});
