/**
 * What every backend must do, as one suite; process.int.spec.ts and docker.int.spec.ts call it with their own.
 *
 * Workloads use only what both busybox and a Debian machine have.
 */

import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../../../../test/support/eventually.ts";
import { type Backend, BackendLost, type Exit, type OutputStream, StartRefused, type Workload } from "./backend.ts";

export interface Subject {
  /** A new backend for the same place. */
  open(): Promise<Backend>;
  readonly image: string | null;
  /** True when what runs survives its backend and can be adopted. */
  readonly outlives: boolean;
  /** How many to run at once. */
  readonly many: number;
}

/** A workload with the subject's image and defaults for what a test does not care about. */
export function createWorkload(image: string | null, part: Partial<Workload>): Workload {
  return {
    executionId: randomUUID(),
    jobId: randomUUID(),
    attempt: 1,
    tenant: "default",
    fence: 7,
    command: [],
    script: null,
    image,
    env: {},
    workingDirectory: null,
    stdin: null,
    cpuMillis: 0,
    memoryMib: 0,
    network: "NONE",
    handler: null,
    ...part,
  };
}

/** A sink that keeps everything. */
export function createMemorySink() {
  const kept: Record<OutputStream, Uint8Array[]> = { stdout: [], stderr: [] };
  const bytes = (stream: OutputStream) => Buffer.concat(kept[stream]);
  return {
    write: (stream: OutputStream, chunk: Uint8Array) => void kept[stream].push(chunk),
    bytes,
    text: (stream: OutputStream) => bytes(stream).toString(),
  };
}

/** Living processes of an execution on this machine, seen from outside by the mark they inherit. */
export function findProcesses(executionId: string): readonly string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      const isDead = /^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
      return !isDead && readFileSync(`/proc/${pid}/environ`, "latin1").includes(`CAPSTAN_EXECUTION_ID=${executionId}`);
    } catch {
      return false; // no process, or gone by now
    }
  });
}

const shell = (text: string) => ({ command: ["sh", "-c", text] });
/** Says that it runs, then waits for a signal. */
const loop = "echo ready; while :; do sleep 0.05; done";

/** How it ended, in words that all backends share. */
function endOf({ exitCode, signal }: Exit): string {
  if (signal === "SIGKILL" || exitCode === 137) return "killed";
  return `exit ${exitCode ?? signal}`;
}

export function describeBackend(subject: Subject): void {
  let backend: Backend;
  const started: string[] = [];

  const start = async (part: Partial<Workload>) => {
    const workload = createWorkload(subject.image, part);
    started.push(workload.executionId);
    const sink = createMemorySink();
    const running = await backend.start(workload, sink);
    return { workload, sink, running };
  };
  const run = async (part: Partial<Workload>) => {
    const { workload, sink, running } = await start(part);
    const exit = await running.exited;
    await backend.remove(workload.executionId);
    return { workload, exit, stdout: sink.text("stdout"), stderr: sink.text("stderr"), sink };
  };
  const refusalOf = async (part: Partial<Workload>): Promise<string> => {
    const error = await run(part).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    return error instanceof StartRefused ? error.reason : `not refused: ${error}`;
  };

  beforeAll(async () => {
    backend = await subject.open();
  });
  afterAll(async () => {
    await Promise.all(started.map((executionId) => backend.remove(executionId)));
    await backend.close();
  });

  describe("a workload's surroundings", () => {
    test("it gets its arguments as they are, unread by any shell", async () => {
      const { stdout } = await run({ command: ["printf", "%s|", "$HOME", "a  b", "*", "`id`", ""] });
      expect(stdout).toBe("$HOME|a  b|*|`id`||");
    });

    test("it sees its own variables and ours, and nothing of the platform's", async () => {
      const { workload, stdout } = await run({ command: ["env"], env: { COLOUR: "blue", CAPSTAN_FENCE: "999" } });
      const seen = new Map(
        stdout
          .trim()
          .split("\n")
          .map((line) => line.split(/=(.*)/s, 2) as [string, string]),
      );
      expect(seen.get("COLOUR")).toBe("blue");
      expect(seen.get("CAPSTAN_EXECUTION_ID")).toBe(workload.executionId);
      expect(seen.get("CAPSTAN_JOB_ID")).toBe(workload.jobId);
      expect(seen.get("CAPSTAN_ATTEMPT")).toBe("1");
      expect(seen.get("CAPSTAN_FENCE")).toBe("7");
      const others = [...seen.keys()].filter((name) => !/^(COLOUR|CAPSTAN_\w+|PATH|HOME|LANG|HOSTNAME)$/.test(name));
      expect(others).toEqual([]);
    });

    test("a variable may have any name, also one that JavaScript gives a meaning", async () => {
      const env = JSON.parse('{"__proto__": "polluted", "constructor": "built"}') as Record<string, string>;
      const { stdout } = await run({ command: ["env"], env });
      expect(stdout).toContain("__proto__=polluted\n");
      expect(stdout).toContain("constructor=built\n");
      expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    });

    test("it reads the stdin it was given, every byte, and then the end", async () => {
      const stdin = Buffer.concat([Buffer.from([0, 255, 10, 13]), Buffer.alloc(300_000, "x")]);
      const { sink } = await run({ command: ["cat"], stdin });
      expect(sink.bytes("stdout").equals(stdin)).toBe(true);
    });

    test("without a stdin it reads the end at once", async () => {
      const { exit, stdout } = await run({ command: ["cat"] });
      expect([endOf(exit), stdout]).toEqual(["exit 0", ""]);
    });

    test("a script runs in its interpreter with its arguments", async () => {
      const content = 'printf "%s/%s\\n" "$#" "$1"\nexit 4\n';
      const { exit, stdout } = await run({ script: { interpreter: ["sh"], content }, command: ["a b"] });
      expect([endOf(exit), stdout]).toEqual(["exit 4", "1/a b\n"]);
    });

    test("a script without an interpreter runs in the shell", async () => {
      const { stdout } = await run({ script: { interpreter: [], content: "echo $((6 * 7))" } });
      expect(stdout).toBe("42\n");
    });
  });

  describe("output", () => {
    test("the two streams stay apart, and every byte stays as it is", async () => {
      const { sink } = await run(shell("printf '\\000\\377\\r\\nno newline'; printf 'wrong\\n\\376' >&2"));
      expect(sink.bytes("stdout")).toEqual(Buffer.from("\0\xff\r\nno newline", "latin1"));
      expect(sink.bytes("stderr")).toEqual(Buffer.from("wrong\n\xfe", "latin1"));
    });

    test("the streams can be opened by name", async () => {
      const { stdout, stderr } = await run(shell("echo out > /dev/stdout; echo err > /dev/stderr"));
      expect([stdout, stderr]).toEqual(["out\n", "err\n"]);
    });

    test("a flood of lines arrives whole and in order", async () => {
      const { stdout } = await run(shell("seq 1 50000"));
      expect(stdout).toBe(Array.from({ length: 50_000 }, (_, i) => `${i + 1}\n`).join(""));
    });

    test("a slow sink is waited for, one call at a time", async () => {
      const workload = createWorkload(subject.image, shell("head -c 3000000 /dev/zero"));
      started.push(workload.executionId);
      let bytes = 0;
      let calls = 0;
      let mostCalls = 0;
      const running = await backend.start(workload, {
        write: async (_, chunk) => {
          mostCalls = Math.max(mostCalls, ++calls);
          await new Promise((resolve) => setImmediate(resolve));
          bytes += chunk.length;
          calls--;
        },
      });
      await running.exited;
      expect([bytes, mostCalls]).toEqual([3_000_000, 1]);
    });
  });

  describe("the end", () => {
    test("it is told with its exit code, and not before the start", async () => {
      const { running } = await start(shell("exit 3"));
      const exit = await running.exited;
      expect(endOf(exit)).toBe("exit 3");
      expect(exit.endTime.getTime()).toBeGreaterThanOrEqual(running.startTime.getTime());
    });

    test("a workload that was killed did not exit by itself", async () => {
      const { exit } = await run(shell("kill -9 $$"));
      expect(endOf(exit)).toBe("killed");
    });

    test("a command that does not exist is refused", async () => {
      expect(await refusalOf({ command: ["no-such-command"] })).toBe("COMMAND_NOT_FOUND");
      expect(await refusalOf({ command: ["/no/such/command"] })).toBe("COMMAND_NOT_FOUND");
    });

    test("a command that may not be executed is refused", async () => {
      expect(await refusalOf({ command: ["/etc/passwd"] })).toBe("PERMISSION_DENIED");
    });

    test("nothing that it started outlives it: not in the background, not in another session, not forked twice", async () => {
      const { workload, exit } = await run(
        shell("sleep 1000 & setsid sleep 1000 & (setsid sleep 1000 >/dev/null 2>&1 &) ; (sleep 1000 &) ; exit 0"),
      );
      expect(endOf(exit)).toBe("exit 0");
      expect(findProcesses(workload.executionId)).toEqual([]);
    });
  });

  describe("stop", () => {
    test("a workload that obeys ends in its own way", async () => {
      const { sink, running } = await start(shell(`trap 'echo bye; exit 7' TERM; ${loop}`));
      await eventually(() => sink.text("stdout") === "ready\n");
      await running.stop(10_000);
      expect(endOf(await running.exited)).toBe("exit 7");
      expect(sink.text("stdout")).toBe("ready\nbye\n");
    });

    test("a workload that does not obey is killed after the grace", async () => {
      const { workload, sink, running } = await start(shell(`trap '' TERM; ${loop}`));
      await eventually(() => sink.text("stdout") === "ready\n");
      await Promise.all([running.stop(100), running.stop(60_000)]);
      expect(endOf(await running.exited)).toBe("killed");
      expect(findProcesses(workload.executionId)).toEqual([]);
      await running.stop(0);
    });
  });

  describe("one object for one execution", () => {
    test("a start that is repeated gives back what runs, and what has run", async () => {
      const { workload, sink, running } = await start(shell("echo once; read line; exit 5"));
      const again = await backend.start(workload, sink);
      expect(again.ref).toBe(running.ref);
      await running.exited;
      const afterwards = await backend.start(workload, sink);
      expect(endOf(await afterwards.exited)).toBe("exit 5");
      expect(sink.text("stdout")).toBe("once\n");
    });

    test("what runs and what has run is listed until it is removed, which may be repeated", async () => {
      const running = await start(shell(loop));
      const over = await start(shell("exit 0"));
      await over.running.exited;
      const ids = [running.workload.executionId, over.workload.executionId];
      expect((await backend.list()).executionIds).toEqual(expect.arrayContaining(ids));
      for (const id of [...ids, ...ids, randomUUID()]) await backend.remove(id);
      const { executionIds: listed } = await backend.list();
      expect(ids.filter((id) => listed.includes(id))).toEqual([]);
      expect(ids.flatMap(findProcesses)).toEqual([]);
    });

    test("many at once keep their output apart", async () => {
      const ends = await Promise.all(
        Array.from({ length: subject.many }, (_, i) => run(shell(`echo ${i}; echo ${-i} >&2; exit ${i % 3}`))),
      );
      expect(ends.map(({ exit, stdout, stderr }) => [endOf(exit), stdout, stderr])).toEqual(
        ends.map((_, i) => [`exit ${i % 3}`, `${i}\n`, `${-i}\n`]),
      );
    });
  });

  describe("another backend for the same place", () => {
    test("it finds nothing of an execution that never was", async () => {
      const none = { stdout: 0, stderr: 0 };
      expect(await backend.adopt(randomUUID(), createMemorySink(), none)).toBeNull();
    });

    if (subject.outlives) {
      test("it adopts what runs, and goes on after the output that is stored", async () => {
        const first = await subject.open();
        const sink = createMemorySink();
        const workload = createWorkload(
          subject.image,
          shell("echo one; echo 1 >&2; trap 'echo two; echo 2 >&2; exit 6' TERM; while :; do sleep 0.05; done"),
        );
        started.push(workload.executionId);
        const running = await first.start(workload, sink);
        await eventually(() => sink.text("stdout") === "one\n" && sink.text("stderr") === "1\n");
        await first.close();

        const rest = createMemorySink();
        const adopted = await backend.adopt(workload.executionId, rest, { stdout: 4, stderr: 0 });
        expect(adopted?.ref).toBe(running.ref);
        await adopted?.stop(10_000);
        expect(endOf((await adopted?.exited) as Exit)).toBe("exit 6");
        expect([rest.text("stdout"), rest.text("stderr")]).toEqual(["two\n", "1\n2\n"]);
      });

      test("it adopts what has exited, with all its output", async () => {
        const first = await subject.open();
        const workload = createWorkload(subject.image, shell("seq 1 2000; exit 9"));
        started.push(workload.executionId);
        await (await first.start(workload, createMemorySink())).exited;
        await first.close();

        const rest = createMemorySink();
        const adopted = await backend.adopt(workload.executionId, rest, { stdout: 2, stderr: 0 });
        expect(endOf((await adopted?.exited) as Exit)).toBe("exit 9");
        expect(rest.text("stdout").split("\n", 2)).toEqual(["2", "3"]);
        expect(rest.text("stdout")).toMatch(/\n2000\n$/);
      });
    } else {
      test("what ran went with its backend, and is gone", async () => {
        const first = await subject.open();
        const workload = createWorkload(subject.image, shell(`setsid sleep 1000 & ${loop}`));
        const sink = createMemorySink();
        const running = await first.start(workload, sink);
        await eventually(() => sink.text("stdout") === "ready\n");
        await first.close();
        await expect(running.exited).rejects.toBeInstanceOf(BackendLost);
        expect(findProcesses(workload.executionId)).toEqual([]);
        expect(await backend.adopt(workload.executionId, sink, { stdout: 0, stderr: 0 })).toBeNull();
      });
    }
  });
}
