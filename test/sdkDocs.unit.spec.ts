import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { sdkVersion } from "../libs/client/src/version.ts";
import { exampleFiles, examplesOfPage } from "./support/sdkExamples.ts";

test("docs/sdk.md shows every program of examples/sdk as it is, and no other", () => {
  const shown = examplesOfPage().map(({ name, code }) => ({ name, code }));
  expect(shown.toSorted((a, b) => a.name.localeCompare(b.name))).toEqual(
    exampleFiles().toSorted((a, b) => a.name.localeCompare(b.name)),
  );
});

test("the SDK says the version of its package", () => {
  const manifest = readFileSync(new URL("../libs/client/package.json", import.meta.url), "utf8");
  expect((JSON.parse(manifest) as { version: string }).version).toBe(sdkVersion);
});
