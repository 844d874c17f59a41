import { DomainError } from "@capstan/errors";
import { TemplateSpec } from "@capstan/proto/capstan/job/v1/template.ts";
import { expect, test } from "vitest";
import {
  assertUsable,
  moveTemplate,
  reviseTemplate,
  type Template,
  templateAllowedFrom,
  templateStates,
} from "./template.ts";

const now = new Date();
const aTemplate = (state: Template["state"]): Template => ({
  id: "t",
  tenant: "default",
  name: "report",
  version: 2,
  state,
  spec: TemplateSpec.fromPartial({}),
  revision: 3,
  createTime: now,
  updateTime: now,
  publishTime: null,
});

const moves = { published: "PUBLISHED", deprecated: "DEPRECATED", archived: "ARCHIVED" } as const;
const pairs = templateStates.flatMap((state) =>
  (["published", "deprecated", "archived"] as const).map((event) => ({ state, event })),
);

test.each(pairs)("a version that is $state is $event exactly when the table says so", ({ state, event }) => {
  const from: readonly string[] = templateAllowedFrom[event];
  const move = () => moveTemplate(aTemplate(state), event, "");
  if (state === moves[event]) expect(move()).toBeNull();
  else if (from.includes(state)) expect(move()).toMatchObject({ event, after: { state: moves[event], revision: 4 } });
  else expect(move).toThrow(DomainError);
});

test.each(templateStates)("a version that is %s can be revised only as a draft", (state) => {
  const revise = () => reviseTemplate(aTemplate(state), TemplateSpec.fromPartial({ description: "new" }), "3", false);
  if (state === "DRAFT") expect(revise()).toMatchObject({ event: "updated", after: { revision: 4 } });
  else expect(revise).toThrow("only while it is DRAFT");
});

test("another etag than the current one is refused", () => {
  expect(() => moveTemplate(aTemplate("DRAFT"), "published", "2")).toThrow("has changed since it was read");
  expect(moveTemplate(aTemplate("DRAFT"), "published", "3")).not.toBeNull();
});

test("published versions can be used, deprecated ones with a warning, others not", () => {
  expect(assertUsable(aTemplate("PUBLISHED"))).toEqual([]);
  expect(assertUsable(aTemplate("DEPRECATED"))).toEqual([
    "version 2 of template report is DEPRECATED; use a newer one",
  ]);
  expect(() => assertUsable(aTemplate("DRAFT"))).toThrow("no job can be made from it");
  expect(() => assertUsable(aTemplate("ARCHIVED"))).toThrow("no job can be made from it");
});
