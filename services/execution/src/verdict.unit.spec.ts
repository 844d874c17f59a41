import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Exit } from "./backends/backend.ts";
import { apply, assign, type Execution, isLive, liveStates, type Stop } from "./execution.ts";
import type { Output } from "./output.ts";
import { decide, type Observation } from "./verdict.ts";

const started = { type: "started", ref: "pid:1", time: new Date(0) } as const;
const running = apply(assign("0", "STARTING"), started);
const ok: Exit = { exitCode: 0, signal: null, outOfMemory: false, endTime: new Date(1_000) };

function exited(exit: Partial<Exit>, more: { stopTime?: Date; output?: Output; memoryMib?: number } = {}): Observation {
  const { stopTime = null, output = { type: "none" }, memoryMib = 0 } = more;
  return { type: "exited", exit: { ...ok, ...exit }, stopTime, output, memoryMib };
}

function stopping(reason: Stop["reason"], from: Execution = running): Execution {
  return apply(from, { type: "stopping", reason, message: "why" });
}

describe("an exit that nobody asked for", () => {
  test.each([
    ["code 0", exited({}), "succeeded", "UNSPECIFIED", ""],
    ["code 3", exited({ exitCode: 3 }), "failed", "EXIT_CODE", "exit code 3"],
    ["a signal", exited({ exitCode: null, signal: "SIGSEGV" }), "failed", "SIGNAL", "killed by SIGSEGV"],
    [
      "out of memory",
      exited({ exitCode: 137, outOfMemory: true }, { memoryMib: 64 }),
      "failed",
      "OUT_OF_MEMORY",
      "went over its memory limit of 64 MiB",
    ],
    [
      "code 0 although a child ran out of memory",
      exited({ outOfMemory: true }),
      "succeeded",
      "UNSPECIFIED",
      "a process in it went over its memory limit",
    ],
    [
      "code 0 with a result that is not JSON",
      exited({}, { output: { type: "invalid", problem: "it is not JSON" } }),
      "failed",
      "RESULT_INVALID",
      "the CAPSTAN_OUTPUT line cannot be used: it is not JSON",
    ],
    [
      "code 3 with a result that is not JSON",
      exited({ exitCode: 3 }, { output: { type: "invalid", problem: "it is not JSON" } }),
      "failed",
      "EXIT_CODE",
      "exit code 3",
    ],
  ])("%s", (_, observation, type, reason, message) => {
    expect(decide(running, observation)).toMatchObject({ type, reason, message });
  });

  test("keeps the result, the code and the time", () => {
    const event = decide(running, exited({}, { output: { type: "json", json: '{"a":1}' } }));
    expect(event).toMatchObject({ result: '{"a":1}', exitCode: 0, signal: "", time: ok.endTime });
  });
});

describe("an exit after a stop was asked for", () => {
  const stopTime = new Date(500);

  test.each([
    ["CANCELLED_BY_USER", "cancelled"],
    ["OPERATOR", "cancelled"],
    ["JOB_TIMEOUT", "timedOut"],
    ["RUN_TIMEOUT", "timedOut"],
    ["START_TIMEOUT", "timedOut"],
    ["LOST", "lost"],
  ] as const)("%s ends it as %s", (reason, type) => {
    const killed = exited({ exitCode: null, signal: "SIGTERM" }, { stopTime });
    expect(decide(stopping(reason), killed)).toMatchObject({ type, reason, message: "why", signal: "SIGTERM" });
  });

  test("code 0 before the stop took effect succeeds", () => {
    expect(decide(stopping("OPERATOR"), exited({ endTime: new Date(400) }, { stopTime }))?.type).toBe("succeeded");
    expect(decide(stopping("OPERATOR"), exited({}))?.type).toBe("succeeded");
  });

  test("code 0 as an answer to the stop does not", () => {
    expect(decide(stopping("RUN_TIMEOUT"), exited({ endTime: new Date(600) }, { stopTime }))?.type).toBe("timedOut");
  });
});

test("what vanished is lost, unless it was to end anyway", () => {
  const gone = { type: "gone", message: "it is not there" } as const;
  expect(decide(running, gone)).toMatchObject({ type: "lost", reason: "LOST", message: "it is not there" });
  expect(decide(stopping("CANCELLED_BY_USER"), gone)?.type).toBe("cancelled");
});

test("a start that was refused fails with the reason of the backend, unless it was to end anyway", () => {
  const refused = { type: "startRefused", reason: "COMMAND_NOT_FOUND", message: "no such program: x" } as const;
  const starting = assign("0", "STARTING");
  expect(decide(starting, refused)).toMatchObject({ type: "failed", reason: "COMMAND_NOT_FOUND" });
  expect(decide(stopping("OPERATOR", starting), refused)?.type).toBe("cancelled");
});

test("an engine that does not answer is told once per message", () => {
  const silent = { type: "unreachable", message: "no answer" } as const;
  const event = decide(assign("0", "STARTING"), silent);
  expect(event).toEqual({ type: "delayed", reason: "PROVIDER_UNREACHABLE", message: "no answer" });
  expect(
    decide(
      apply(assign("0", "STARTING"), { type: "delayed", reason: "PROVIDER_UNREACHABLE", message: "no answer" }),
      silent,
    ),
  ).toBeNull();
  expect(decide(stopping("OPERATOR"), silent)).toBeNull();
});

test("an image that has to be fetched is told once, and forgotten when it runs", () => {
  const pulling = { type: "pulling", image: "alpine:3" } as const;
  const event = { type: "delayed", reason: "IMAGE_PULL", message: "the image alpine:3 is being pulled" } as const;
  expect(decide(assign("0", "STARTING"), pulling)).toEqual(event);
  const delayed = apply(assign("0", "STARTING"), event);
  expect(decide(delayed, pulling)).toBeNull();
  expect(apply(delayed, started)).toMatchObject({ state: "RUNNING", reason: "UNSPECIFIED", message: "" });
  expect(decide(stopping("OPERATOR"), pulling)).toBeNull();
});

test("a message holds no NUL and has an end", () => {
  const event = decide(running, { type: "gone", message: `a\0b${"x".repeat(5_000)}` });
  expect(event).toMatchObject({ message: `ab${"x".repeat(1_998)}` });
});

const observations = fc.constantFrom<Observation>(
  { type: "starting" },
  { type: "unreachable", message: "no answer" },
  { type: "pulling", image: "alpine" },
  started,
  { type: "stopAsked", stop: { reason: "RUN_TIMEOUT", message: "" } },
  { type: "neverStarted" },
  { type: "gone", message: "" },
);

test("whatever is observed in whatever order, the moves are legal and there is one end at most", () => {
  fc.assert(
    fc.property(fc.array(observations), fc.constantFrom("STARTING" as const), (observed, first) => {
      let execution = assign("0", first);
      let ends = 0;
      for (const observation of observed) {
        const event = decide(execution, observation);
        if (event === null) continue;
        execution = apply(execution, event);
        if (!isLive(execution)) ends++;
      }
      expect(ends).toBeLessThanOrEqual(1);
      expect(liveStates.some((state) => state === execution.state)).toBe(ends === 0);
    }),
  );
});
