import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../../../../test/support/eventually.ts";
import { type Backend, BackendLost, type Workload } from "./backend.ts";
import { createMemorySink, createWorkload, describeBackend, findProcesses } from "./conformance.ts";
import { openProcessBackend } from "./process.ts";
import { canContain } from "./spawnerLink.ts";

const directory = await mkdtemp(join(tmpdir(), "capstan-process-"));
const isContained = await canContain();
if (!isContained) console.info("no pid namespaces here: the test of processes that hide their marks is skipped");

const log = { warn: () => {} };
const open = (contain = true): Promise<Backend> => openProcessBackend({ directory, path: null, contain, log });
const workload = (...command: string[]) => createWorkload(null, { command });

afterAll(() => rm(directory, { recursive: true, force: true }));

describe.each([true, false])("the process backend as a backend (contained: %s)", (contain) => {
  describeBackend({ open: () => open(contain), image: null, outlives: false, many: 100 });
});

describe("the process backend", () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await open();
  });
  afterAll(() => backend.close());

  const run = async (part: Parameters<typeof createWorkload>[1]) => {
    const sink = createMemorySink();
    const running = await backend.start(createWorkload(null, part), sink);
    return { exit: await running.exited, stdout: sink.text("stdout") };
  };

  test("a workload starts in an empty directory of its own, which goes with it", async () => {
    for (let i = 0; i < 3; i++) {
      const { stdout } = await run({ command: ["sh", "-c", 'pwd; echo "$HOME"; ls -A; mkdir -p a/b; touch a/b/c .d'] });
      const [place, home, ...found] = stdout.trim().split("\n");
      expect([home, found]).toEqual([place, []]);
      await eventually(async () => expect(await readdir(place as string).catch(() => [])).toEqual([]));
    }
  });

  test("a workload inherits no open file but its three streams", async () => {
    const { stdout } = await run({ command: ["sh", "-c", "ls -l /proc/$$/fd | grep -c socket:; ls /proc/$$/fd"] });
    expect(stdout.split("\n").slice(0, 4)).toEqual(["0", "0", "1", "2"]);
  });

  test("a working directory that is not there is refused", async () => {
    const lost = backend.start(
      createWorkload(null, { command: ["true"], workingDirectory: "/no/such" }),
      createMemorySink(),
    );
    await expect(lost).rejects.toMatchObject({ name: "StartRefused", reason: "BAD_WORKING_DIRECTORY" });
  });

  test("a file that may not be executed is refused", async () => {
    const file = join(directory, "plain");
    await writeFile(file, "#!/bin/sh\n", { mode: 0o644 });
    const refused = backend.start(workload(file), createMemorySink());
    await expect(refused).rejects.toMatchObject({ name: "StartRefused", reason: "PERMISSION_DENIED" });
  });

  test("a flood does not grow our memory while the sink waits", async () => {
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    const running = await backend.start(workload("head", "-c", "400000000", "/dev/zero"), {
      write: async () => {
        most = Math.max(most, process.memoryUsage().arrayBuffers - before);
        await new Promise((resolve) => setImmediate(resolve));
      },
    });
    await running.exited;
    expect(most).toBeLessThan(150_000_000); // what is not collected yet counts too;
  });

  test.skipIf(!isContained)("a process that hid every mark of its execution does not outlive it", async () => {
    const seconds = String(100_000 + Math.floor(Math.random() * 100_000));
    await run({ command: ["sh", "-c", `env -i /usr/bin/setsid -f /bin/sleep ${seconds}`] });
    await eventually(() => expect(findCommands("/bin/sleep", seconds)).toEqual([]));
  });

  test.each([
    { signal: "SIGKILL", contain: true },
    { signal: "SIGKILL", contain: false },
    { signal: "SIGSTOP", contain: true },
    { signal: "SIGSTOP", contain: false },
  ] as const)("when the spawner dies or hangs ($signal, contained: $contain), its executions are lost, nothing is left, and the next one starts", async ({
    signal,
    contain,
  }) => {
    const place = await mkdtemp(join(directory, "spawner-"));
    const other = await openProcessBackend({ directory: place, path: null, contain, pingMs: 500, log });
    const sink = createMemorySink();
    const victim = workload("sh", "-c", "setsid sleep 1000 & echo ready; sleep 1000");
    const running = await other.start(victim, sink);
    await eventually(() => expect(sink.text("stdout")).toBe("ready\n"));
    const [spawner] = findCommands(`${process.execPath}\0`, "spawner.ts", place);
    process.kill(Number(spawner), signal);
    await expect(running.exited).rejects.toBeInstanceOf(BackendLost);
    expect(findProcesses(victim.executionId)).toEqual([]);
    const next = await other.start(workload("true"), createMemorySink());
    expect((await next.exited).exitCode).toBe(0);
    await other.close();
  });

  test.each([
    true,
    false,
  ])("when the runner is killed (contained: %s), nothing of its executions is left", async (contain) => {
    const victim = workload("sh", "-c", "setsid sleep 1000 & (setsid sleep 1000 >/dev/null 2>&1 &); sleep 1000");
    const runner = startRunner(victim, contain);
    await eventually(() => expect(findProcesses(victim.executionId).length).toBeGreaterThanOrEqual(4));
    runner.kill("SIGKILL");
    await eventually(() => expect(findProcesses(victim.executionId)).toEqual([]));
  });

  test("what a runner and its spawner left when both were killed, the next runner kills", async () => {
    const victim = workload("sh", "-c", "setsid sleep 1000 & sleep 1000");
    const runner = startRunner(victim, false);
    await eventually(() => expect(findProcesses(victim.executionId).length).toBeGreaterThanOrEqual(3));
    const spawners = findCommands(`${process.execPath}\0`, "spawner.ts", `.${runner.pid}.`);
    runner.kill("SIGSTOP"); // so that it cannot start another spawner
    for (const pid of spawners) process.kill(Number(pid), "SIGKILL");
    const gone = once(runner, "exit");
    runner.kill("SIGKILL");
    await gone;
    expect(findProcesses(victim.executionId).length).toBeGreaterThan(0);
    await (await open()).close();
    expect(findProcesses(victim.executionId)).toEqual([]);
  });
});

/** Processes whose command line begins with the first and holds all other words. */
function findCommands(first: string, ...words: readonly string[]): readonly string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, "latin1");
      return line.startsWith(first) && words.every((word) => line.includes(word));
    } catch {
      return false;
    }
  });
}

/** A process that does nothing but run one workload. */
function startRunner(victim: Workload, contain: boolean): ChildProcess {
  const code = `
    const { openProcessBackend } = await import(process.argv[1]);
    const backend = await openProcessBackend({ directory: process.argv[2], path: null, contain: process.argv[4] === "true", log: console });
    await backend.start(JSON.parse(process.argv[3]), { write() {} });`;
  const module = new URL("process.ts", import.meta.url).href;
  const args = ["--input-type=module", "-e", code, module, directory, JSON.stringify(victim), String(contain)];
  return spawn(process.execPath, args, { stdio: "inherit" });
}
