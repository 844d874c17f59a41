/** The programs of docs/sdk.md, run as a reader runs them, print what the page says. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bareEnv } from "../support/bareEnv.ts";
import { examplesOfPage } from "../support/sdkExamples.ts";
import { type Standalone, startStandalone } from "../support/startStandalone.ts";

let standalone: Standalone;

beforeAll(async () => {
  standalone = await startStandalone();
});
afterAll(() => standalone?.stop());

test.each(examplesOfPage())("$name prints what the page says", async ({ name, prints }) => {
  const program = fileURLToPath(new URL(`../../examples/sdk/${name}`, import.meta.url));
  const env = { ...bareEnv, CAPSTAN_ADDRESS: standalone.address };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [program], { env });
  expect({ stdout, stderr }).toEqual({ stdout: prints, stderr: "" });
});
