import fc from "fast-check";
import { expect, test } from "vitest";
import { createPathTable, parseTemplate } from "./pathTemplate.ts";

const paths = [
  "/api/v1/jobs",
  "/api/v1/jobs/{job_id}",
  "/api/v1/jobs/{job_id}:cancel",
  "/api/v1/jobs:batchSubmit",
  "/api/v1/jobs/{job_id}/steps/{step}:decide",
];
const find = createPathTable(paths.map((text) => ({ method: "GET", template: parseTemplate(text), route: text })));
const look = (path: string) => {
  const found = find(path);
  return found === null ? null : { route: found.methods.get("GET"), values: found.values };
};

test("a path is found with its values, whatever they are", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", minLength: 1 }), fc.constantFrom("", ":cancel"), (id, action) => {
      const encoded = encodeURIComponent(id);
      expect(look(`/api/v1/jobs/${encoded}${action}`)).toEqual({
        route: `/api/v1/jobs/{job_id}${action}`,
        values: { job_id: id },
      });
    }),
  );
});

test("several values, and an action without any", () => {
  expect(look("/api/v1/jobs/a/steps/b.1:decide")).toMatchObject({ values: { job_id: "a", step: "b.1" } });
  expect(look("/api/v1/jobs:batchSubmit")).toMatchObject({ route: "/api/v1/jobs:batchSubmit", values: {} });
});

test.each([
  "/api/v1/jobs/",
  "/api/v1/jobs/a/",
  "/api/v1//a",
  "/api/v1/jobs/a:nothing",
  "/api/v1/jobs/a:cancel:cancel",
  "/api/v1/jobs/%zz",
  "/api/v1/jobs/%",
  "/API/v1/jobs",
  "",
])("nothing is at %j", (path) => {
  expect(look(path)).toBeNull();
});

test("two calls at one path are a defect, and so is a path that cannot be served", () => {
  const template = parseTemplate("/a/{x}");
  const other = parseTemplate("/a/{y}");
  const routes = [template, other].map((each) => ({ method: "GET", template: each, route: 1 }));
  expect(() => createPathTable(routes)).toThrow("two calls are at GET /a/{y}");
  for (const text of ["", "/a/*", "/a/{x=**}", "/a/{x.y}", "a"]) expect(() => parseTemplate(text), text).toThrow();
});
