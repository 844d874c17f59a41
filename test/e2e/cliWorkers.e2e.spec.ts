/** Handlers and workers as a user of the command sees them, against a platform in one process. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { NonRetryable, type Worker } from "@capstan/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bareEnv } from "../support/bareEnv.ts";
import { eventually } from "../support/eventually.ts";
import { type Standalone, startStandalone } from "../support/startStandalone.ts";

const cli = fileURLToPath(new URL("../../libs/cli/bin/capstan.js", import.meta.url));

let standalone: Standalone;
let worker: Worker;

beforeAll(async () => {
  standalone = await startStandalone();
  const handlers = {
    double: (input: number) => input * 2,
    broken: () => {
      throw new NonRetryable("the picture is broken");
    },
  };
  worker = await standalone.capstan.worker({ pool: "media", slots: 3, labels: { zone: "a" }, handlers });
});

afterAll(async () => {
  await worker?.stop();
  await standalone?.stop();
});

function capstan(...args: readonly string[]): Promise<{ exitCode: unknown; stdout: string; stderr: string }> {
  const env = { ...bareEnv, CAPSTAN_ADDRESS: standalone.address };
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...args], { env }, (error, stdout, stderr) =>
      resolve({ exitCode: error?.code ?? 0, stdout, stderr }),
    );
  });
}

test("run calls a handler with an input, and prints what it gives back", async () => {
  const { exitCode, stdout } = await capstan("run", "--handler", "double", "--input", "21");
  expect({ exitCode, result: JSON.parse(stdout) }).toEqual({ exitCode: 0, result: 42 });
});

test("run ends with 1 when the handler has failed, and says why", async () => {
  const { exitCode, stderr } = await capstan("run", "--handler", "broken");
  expect(exitCode).toBe(1);
  expect(stderr).toContain("the picture is broken");
});

test("an input without a handler is bad usage, and nothing is asked of the platform", async () => {
  const { exitCode, stderr } = await capstan("run", "--input", "21", "--", "true");
  expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining("--handler") });
});

test("worker list shows the worker with all it has said of itself", async () => {
  const { exitCode, stdout } = await capstan("worker", "list", "--pool", "media");
  expect(exitCode).toBe(0);
  for (const word of [worker.id, "media", "connected", "3", "zone=a", "double", "broken"]) {
    expect(stdout.toLowerCase()).toContain(word);
  }
  const json = JSON.parse((await capstan("worker", "list", "-o", "json")).stdout);
  expect(json).toMatchObject([{ id: worker.id, pool: "media", state: "WORKER_STATE_CONNECTED", slots: 3 }]);
});

test("worker list of a pool without workers says so", async () => {
  const { stdout, stderr } = await capstan("worker", "list", "--pool", "nobody");
  expect({ stdout: stdout.trim(), stderr: stderr.trim() }).toEqual({
    stdout: "",
    stderr: expect.stringContaining("no worker that is connected matches"),
  });
});

test("provider list and get show the pool with what its workers add up to", async () => {
  await eventually(async () => expect((await capstan("provider", "list")).stdout).toMatch(/media +WORKER/));
  const { stdout } = await capstan("provider", "get", "media");
  for (const word of ["WORKER", "double", "zone=a"]) expect(stdout).toContain(word);
});

test("a pool cannot be changed by hand", async () => {
  const { exitCode, stderr } = await capstan("provider", "update", "media", "--label", "zone=b");
  expect(exitCode).not.toBe(0);
  expect(stderr).toContain("those of the connected workers count");
});
