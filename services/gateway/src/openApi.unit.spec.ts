/** The document against a public linter, and against the list of RPCs that it is made from. */
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { expect, test } from "vitest";
import { readComments, readContracts } from "./contracts.ts";
import { writeDocsPage } from "./docsPage.ts";
import { writeOpenApi } from "./openApi.ts";

const contracts = readContracts();
const openApi = writeOpenApi({ contracts, comments: readComments(), version: "0.1.0", publicPath: "/" });

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
}

const { paths } = openApi as { paths: Readonly<Record<string, Readonly<Record<string, Operation>>>> };
const operations = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })),
);

test("a public linter finds nothing wrong with it, not even a warning", async () => {
  const config = await createConfig({ extends: ["recommended"] });
  const problems = await lintFromString({ source: JSON.stringify(openApi), config });
  expect(problems.map(({ ruleId, message }) => `${ruleId}: ${message}`)).toEqual([]);
});

test("it has every way to call a public RPC over HTTP, and no other", () => {
  const calls = operations.filter(({ tags }) => !tags.includes("Live"));
  expect(calls).toHaveLength(contracts.bindings.length);
  const ids = operations.map(({ operationId }) => operationId);
  expect(new Set(ids).size).toBe(ids.length);
  const named = contracts.rpcs.filter(({ bindings }) => bindings.length > 0).map(({ desc }) => desc.localName);
  expect(ids).toEqual(expect.arrayContaining(named));
});

test("every RPC for users has a path but those with streams both ways", () => {
  const without = contracts.rpcs.filter(({ bindings }) => bindings.length === 0);
  expect(without.map(({ desc }) => desc.methodKind)).toEqual(without.map(() => "bidi_streaming"));
});

test("everything says what it is for", () => {
  for (const { operationId, summary } of operations) {
    expect(summary.length, operationId).toBeGreaterThan(5);
    expect(summary).not.toContain("\n");
  }
});

test("the page for people has each operation and each schema, and no link that leads nowhere", () => {
  const page = writeDocsPage(openApi);
  const ids = new Set([...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
  for (const { operationId } of operations) expect(ids).toContain(operationId);
  for (const [, target] of page.matchAll(/href="#([^"]+)"/g)) expect(ids).toContain(target);
  expect(page).not.toContain("<script");
  expect(page).not.toContain("undefined");
});
