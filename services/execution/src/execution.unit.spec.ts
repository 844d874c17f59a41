import { describe, expect, test } from "vitest";
import {
  allowedFrom,
  apply,
  assign,
  type Execution,
  type ExecutionEvent,
  type ExecutionState,
  finalStates,
  isLive,
  isPublished,
  liveStates,
  stopOf,
} from "./execution.ts";

const states: readonly ExecutionState[] = [...liveStates, ...finalStates];
const end = { reason: "UNSPECIFIED", message: "", exitCode: null, signal: "", result: null, time: null } as const;
const events: Record<ExecutionEvent["type"], ExecutionEvent> = {
  starting: { type: "starting" },
  delayed: { type: "delayed", reason: "PROVIDER_UNREACHABLE", message: "no answer" },
  started: { type: "started", ref: "pid:1", time: new Date(0) },
  stopping: { type: "stopping", reason: "OPERATOR", message: "" },
  succeeded: { type: "succeeded", ...end },
  failed: { type: "failed", ...end },
  cancelled: { type: "cancelled", ...end },
  timedOut: { type: "timedOut", ...end },
  lost: { type: "lost", ...end },
};

function inState(state: ExecutionState): Execution {
  return { ...assign("0", "ASSIGNED"), state };
}

describe.each(Object.values(events))("$type", (event) => {
  const from: readonly ExecutionState[] = allowedFrom[event.type];

  test.each(states.filter((state) => from.includes(state)))("may happen in %s", (state) => {
    const after = apply(inState(state), event);
    expect(after.sequence).toBe(isPublished(event) ? 1 : 0);
    expect(after.fence).toBe(1);
  });

  test.each(states.filter((state) => !from.includes(state)))("may not happen in %s", (state) => {
    expect(() => apply(inState(state), event)).toThrow(`${event.type} may not happen in ${state}`);
  });
});

test("an end is final: nothing may happen after it", () => {
  for (const state of finalStates) {
    for (const from of Object.values(allowedFrom)) expect(from).not.toContain(state);
    expect(isLive({ state })).toBe(false);
  }
});

test("every live state can end", () => {
  const ends = ["succeeded", "failed", "cancelled", "timedOut", "lost"] as const;
  for (const state of liveStates.filter((each) => each !== "ASSIGNED")) {
    expect(ends.some((type) => (allowedFrom[type] as readonly string[]).includes(state))).toBe(true);
  }
  expect(allowedFrom.stopping).toContain("ASSIGNED");
});

test("a start that is confirmed after the stop was asked for leaves it stopping, with the reason of the stop", () => {
  const stopping = apply(inState("STARTING"), { type: "stopping", reason: "CANCELLED_BY_USER", message: "enough" });
  const after = apply(stopping, events.started);
  expect(after).toMatchObject({ state: "STOPPING", hasStarted: true, externalRef: "pid:1", sequence: 1 });
  expect(stopOf(after)).toEqual({ reason: "CANCELLED_BY_USER", message: "enough" });
});

test("a start that was delayed tells nothing of it once it runs", () => {
  const delayed = apply(inState("STARTING"), events.delayed);
  expect(delayed).toMatchObject({ state: "STARTING", reason: "PROVIDER_UNREACHABLE", message: "no answer" });
  expect(apply(delayed, events.started)).toMatchObject({ state: "RUNNING", reason: "UNSPECIFIED", message: "" });
});
