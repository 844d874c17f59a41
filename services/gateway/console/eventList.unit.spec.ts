import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { liveFilterOf, problemsOf, summaryOf, withNews, wordsOf } from "./eventList.ts";

const none = { context: "", type: "", jobId: "", queue: "" };
const fact = (id: string) => ({ id, type: "capstan.job.v1.job.started" });

describe("the facts that are kept", () => {
  test("are the newest, first of all, none twice, however they come", () => {
    const bunches = fc.array(fc.array(fc.integer({ min: 0, max: 60 }).map(String), { maxLength: 12 }), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(bunches, fc.integer({ min: 1, max: 20 }), (given, most) => {
        let kept: readonly ReturnType<typeof fact>[] = [];
        for (const bunch of given) kept = withNews(kept, bunch.map(fact), most);
        const ids = kept.map(({ id }) => id);
        expect(new Set(ids).size).toBe(ids.length);
        expect(ids.length).toBeLessThanOrEqual(most);
        const whole = given.reduce<typeof kept>((all, bunch) => withNews(all, bunch.map(fact)), []);
        expect(whole.map(({ id }) => id)).toEqual([...new Set(given.flat())].reverse());
      }),
    );
  });

  test("are the same list when nothing new has come, so that nothing is drawn anew", () => {
    const kept = withNews([], [fact("a"), fact("b")]);
    expect(kept.map(({ id }) => id)).toEqual(["b", "a"]);
    expect(withNews(kept, [fact("a")])).toBe(kept);
  });
});

test("a filter is sent as the live connection takes it, and what is empty is left out", () => {
  expect(liveFilterOf(none)).toEqual({});
  expect(liveFilterOf({ ...none, context: "orchestrator" })).toEqual({ types: ["capstan.orchestrator.v1.*.*"] });
  expect(liveFilterOf({ ...none, context: "job", type: "step.failed", queue: "mail" })).toEqual({
    types: ["capstan.job.v1.step.failed"],
    queue: "mail",
  });
});

test("what cannot be listened to is told by field", () => {
  const problems = problemsOf({ context: "", type: "job succeeded", jobId: "123", queue: "Not A Queue" });
  expect([...problems.keys()]).toEqual(["type", "jobId", "queue"]);
  expect(problemsOf({ ...none, type: "*.timed_out" }).size).toBe(0);
});

test("a fact is told in a line, without words that stand for nothing", () => {
  expect(wordsOf("capstan.execution.v1.worker.connected")).toEqual({ context: "execution", name: "worker.connected" });
  const data = {
    state: "JOB_STATE_TIMED_OUT",
    reason: "REASON_UNSPECIFIED",
    message: "too late",
    queue: "mail",
    count: 3,
  };
  expect(summaryOf({ ...fact("a"), data })).toBe("timed out · too late · mail");
});
