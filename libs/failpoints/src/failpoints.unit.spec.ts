import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Armed, Failpoints } from "./failpoint.ts";
import { openFailpoints, refusedFailpoints } from "./failpoints.ts";

let directory: string;
let count = 0;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "capstan-failpoints-"));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function open(): Failpoints {
  const opened = openFailpoints({ CAPSTAN_FAILPOINTS: directory, NODE_ENV: "test" });
  if (opened === null) throw new Error("they are off");
  return opened;
}

function arm(mode: Armed["mode"], word?: string): void {
  const armed: Armed = {
    point: "commit",
    stage: "job.accept",
    mode,
    delayMs: 30,
    ...(word === undefined ? {} : { word }),
  };
  writeFileSync(join(directory, `armed.${++count}`), JSON.stringify(armed));
}

/** An operation that counts how often it was done. */
function operation() {
  const done = { times: 0 };
  const work = async () => ++done.times;
  return { done, work };
}

test("there are none in a process that was not started for a test", () => {
  expect(openFailpoints({})).toBeNull();
  expect(openFailpoints({ NODE_ENV: "test" })).toBeNull();
  expect(openFailpoints({ CAPSTAN_FAILPOINTS: directory })).toBeNull();
  expect(openFailpoints({ CAPSTAN_FAILPOINTS: directory, NODE_ENV: "production" })).toBeNull();
});

test("a process that is given some without being a test is refused", () => {
  expect(refusedFailpoints({ CAPSTAN_FAILPOINTS: directory, NODE_ENV: "production" })).toMatch(
    /CAPSTAN_FAILPOINTS.*test/,
  );
  expect(refusedFailpoints({ CAPSTAN_FAILPOINTS: directory })).not.toBeNull();
  expect(refusedFailpoints({ CAPSTAN_FAILPOINTS: directory, NODE_ENV: "test" })).toBeNull();
  expect(refusedFailpoints({})).toBeNull();
});

test("what nobody armed is done as ever", async () => {
  const { done, work } = operation();
  expect(await open().around("commit", "job.accept", work)).toBe(1);
  expect(done.times).toBe(1);
});

test("throw fails without doing it, doThenThrow after it was done, each once", async () => {
  const { around } = open();
  const { done, work } = operation();
  arm("throw");
  await expect(around("commit", "job.accept", work)).rejects.toMatchObject({ code: "ECONNRESET" });
  expect(done.times).toBe(0);
  arm("doThenThrow");
  await expect(around("commit", "job.accept", work)).rejects.toMatchObject({ code: "ECONNRESET" });
  expect(done.times).toBe(1);
  expect(await around("commit", "job.accept", work)).toBe(2);
  expect(readdirSync(directory).filter((name) => name.startsWith("fired."))).toHaveLength(2);
});

test("delay does it later, and hang never", async () => {
  const { around } = open();
  const { done, work } = operation();
  arm("delay");
  const before = performance.now();
  expect(await around("commit", "job.accept", work)).toBe(1);
  expect(performance.now() - before).toBeGreaterThan(25);
  arm("hang");
  expect(await around("commit", "job.accept", work, { hang: async () => -1 })).toBe(-1);
  expect(done.times).toBe(1);
});

test("it fires only at its point, its stage and its word", async () => {
  const { around } = open();
  const { done, work } = operation();
  arm("throw", "job.submitted");
  await around("write", "job.accept", work, { words: () => ["job.submitted"] });
  await around("commit", "job.end", work, { words: () => ["job.submitted"] });
  await around("commit", "job.accept", work, { words: () => ["job.started"] });
  expect(done.times).toBe(3);
  await expect(around("commit", "job.accept", work, { words: () => ["a", "job.submitted"] })).rejects.toThrow();
});

test.each([
  ["kill", ""],
  ["doThenKill", "done"],
] as const)("%s ends the process as SIGKILL does", (mode, written) => {
  arm(mode);
  const module = JSON.stringify(fileURLToPath(new URL("./failpoints.ts", import.meta.url)));
  const program = `
    const { failpoints } = await import(${module});
    process.on("exit", () => process.stdout.write("a last word"));
    await failpoints.around("commit", "job.accept", async () => (await import("node:fs")).writeSync(1, "done"));
    process.stdout.write("and on");`;
  const env = { PATH: process.env["PATH"], CAPSTAN_FAILPOINTS: directory, NODE_ENV: "test" };
  const child = spawnSync(process.execPath, ["--input-type=module", "--eval", program], { env, encoding: "utf8" });
  expect({ signal: child.signal, stdout: child.stdout }).toEqual({ signal: "SIGKILL", stdout: written });
});

test("what passes is written down when a test asks for it", async () => {
  writeFileSync(join(directory, "trace"), "");
  await open().around("publish", "job", operation().work, { words: () => ["a", "a", "b"] });
  const passed = readFileSync(join(directory, "passed"), "utf8");
  expect(JSON.parse(passed)).toEqual({ point: "publish", stage: "job", words: ["a", "b"] });
});
