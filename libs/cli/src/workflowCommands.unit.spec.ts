import type { Step } from "@capstan/proto/capstan/job/v1/job.ts";
import { Step as StepMessage } from "@capstan/proto/capstan/job/v1/job.ts";
import { expect, test } from "vitest";
import { UsageError } from "./failure.ts";
import { approvalOf, fieldsOf } from "./workflowCommands.ts";

function waiting(name: string): Step {
  return StepMessage.fromPartial({ name, state: "STEP_STATE_SUSPENDED", reason: "REASON_APPROVAL" });
}

const signal = StepMessage.fromPartial({ name: "s", state: "STEP_STATE_SUSPENDED", reason: "REASON_AWAITING_SIGNAL" });

test("the only step that waits for a decision is meant, unless one is named", () => {
  expect(approvalOf({ id: "j", steps: [signal, waiting("ask")] }, undefined)).toBe("ask");
  expect(approvalOf({ id: "j", steps: [waiting("a"), waiting("b")] }, "b")).toBe("b");
});

test("none, or a choice of several, is a mistake of whoever asks", () => {
  const ask = (steps: Step[]) => () => approvalOf({ id: "j", steps }, undefined);
  expect(ask([signal])).toThrow(new UsageError("no step of job j waits for an approval"));
  expect(ask([waiting("a"), waiting("b")])).toThrow(
    new UsageError("2 steps of job j wait for an approval; name one with --step: a, b"),
  );
});

test("fields come as an object, one by one, or both", () => {
  expect(fieldsOf({})).toBeUndefined();
  expect(fieldsOf({ fields: { a: 1, b: 2 }, field: { b: "x" } })).toEqual({ a: 1, b: "x" });
  expect(() => fieldsOf({ fields: [1] })).toThrow(new UsageError("--fields must be a JSON object"));
});
