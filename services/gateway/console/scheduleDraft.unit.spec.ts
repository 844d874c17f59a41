import { describe, expect, test } from "vitest";
import { draftOf, planOf, specOf, workField } from "./scheduleDraft.ts";

describe("a schedule as it is typed", () => {
  test("is sent as it was read when nothing is changed", () => {
    const spec = {
      cron: "0 4 * * 1",
      timeZone: "Europe/Berlin",
      jitter: "20s",
      overlap: "OVERLAP_POLICY_ALLOW",
      missed: "MISSED_RUN_POLICY_ALL",
      missedWindow: "7200s",
      maxConsecutiveFailures: 3,
      description: "cleans",
    } as const;
    const work = { name: "clean", steps: [{ name: "run", run_timeout: "5s" }] };
    expect(specOf(draftOf("weekly", spec, "UTC"), work, spec)).toEqual({
      ...spec,
      job: { name: "clean", steps: [{ name: "run", runTimeout: "5s" }] },
    });
  });

  test.each([
    ["30s", "30", "1"],
    ["300s", "5", "60"],
    ["7200s", "2", "3600"],
    ["172800s", "2", "86400"],
    ["90s", "90", "1"],
  ])("shows an interval of %s in its largest whole unit", (interval, count, unit) => {
    const draft = draftOf("often", { interval }, "UTC");
    expect(draft).toMatchObject({ kind: "interval", interval: count, unit });
    expect(planOf(draft)).toMatchObject({ interval });
  });

  test("has exactly one of the three ways to say when", () => {
    const draft = draftOf("new", {}, "UTC");
    const kinds = (["cron", "interval", "time"] as const).map((kind) =>
      Object.keys(planOf({ ...draft, kind, time: "2030-01-01T00:00" })),
    );
    for (const keys of kinds) expect(keys.filter((key) => ["cron", "interval", "time"].includes(key))).toHaveLength(1);
  });

  test("sends a template with what takes the place of its own", () => {
    const work = { template: { name: "report", parameters: { page_count: 2 } }, spec: { queue: "slow" } };
    expect(specOf(draftOf("x", {}, "UTC"), work)).toMatchObject({
      template: { name: "report", parameters: { page_count: 2 } },
      job: { queue: "slow" },
    });
  });

  test.each([
    ["spec.cron", false, null],
    ["spec.job.steps[0].runTimeout", false, "steps[0].runTimeout"],
    ["spec.job", false, ""],
    ["spec.job.queue", true, "spec.queue"],
    ["spec.template.parameters.region", true, "template.parameters.region"],
    ["name", false, null],
  ])("a refused field %s is found in the text", (field, isTemplate, expected) => {
    expect(workField(field, isTemplate)).toBe(expected);
  });
});
