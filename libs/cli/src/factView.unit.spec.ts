import { expect, test } from "vitest";
import { factLine, tellingValues } from "./factView.ts";

test("a fact is one line with when, what, about what and the telling values", () => {
  const line = factLine({
    time: new Date("2026-11-20T10:00:00.123Z"),
    type: "capstan.job.v1.step.backed_off",
    sequence: 3,
    aggregateId: "j1",
    data: {
      name: "my job",
      state: "JOB_STATE_RUNNING",
      steps: [{ name: "main", attempt: 1, state: "STEP_STATE_BACKOFF", reason: "REASON_EXIT_CODE", exitCode: 2 }],
    },
  });
  expect(line).toBe(
    "10:00:00.123  step.backed_off         j1  #3  " +
      'name="my job" state=RUNNING [name=main attempt=1 state=BACKOFF reason=EXIT_CODE exitCode=2]',
  );
});

test("what is nested in a field of its name is told too", () => {
  const provider = { name: "local", state: "PROVIDER_STATE_ACTIVE", health: "PROVIDER_HEALTH_HEALTHY" };
  expect(tellingValues({ provider })).toBe("name=local state=ACTIVE health=HEALTHY");
});

test.each([[null], ["text"], [7], [[]], [{ steps: [null, 1] }]])("data of any shape is bearable: %j", (data) => {
  expect(factLine({ time: undefined, type: "odd", sequence: 1, aggregateId: "", data })).toMatch(/^- {2}odd/);
});

test("a name cannot act on the terminal", () => {
  expect(tellingValues({ name: "\u001b[2J" })).not.toContain("\u001b");
});
