import { ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  createSchedule,
  pauseSchedule,
  resumeSchedule,
  type Schedule,
  scheduleAllowedFrom,
  scheduleStates,
  updateSchedule,
} from "./schedule.ts";
import { advance, withOutcomes } from "./scheduleRuns.ts";
import { completeSchedule } from "./scheduleSpec.ts";

const start = new Date("2026-01-01T00:00:30Z");
const at = (text: string) => new Date(`2026-01-01T${text}Z`);
const idle = { live: 0, failures: 0 };

function aSchedule(part: Partial<ScheduleSpec> = {}, more: Partial<Schedule> = {}): Schedule {
  const spec = completeSchedule({ ...ScheduleSpec.fromPartial({ cron: "*/10 * * * *" }), ...part });
  return { ...createSchedule({ id: "s", tenant: "default", name: "s", spec }, start, false).after, ...more };
}

const shown = (times: readonly Date[]) => times.map((time) => time.toISOString().slice(11, 19));
const told = (move: { events: readonly { type: string }[] }) => move.events.map(({ type }) => type);

test("moves happen exactly where the table allows them", () => {
  for (const state of scheduleStates) {
    const next = state === "ACTIVE" ? {} : { nextTime: null, nextFireTime: null };
    const schedule = aSchedule({}, { state, ...next });
    const cause = { reason: "PAUSED_BY_USER", message: "" } as const;
    const allowed = (event: keyof typeof scheduleAllowedFrom) =>
      (scheduleAllowedFrom[event] as readonly string[]).includes(state);
    if (state === "PAUSED") expect(told(pauseSchedule(schedule, cause, start))).toEqual([]);
    else if (allowed("paused")) expect(pauseSchedule(schedule, cause, start).after.state).toBe("PAUSED");
    else expect(() => pauseSchedule(schedule, cause, start)).toThrow(`is ${state}`);
    if (state === "ACTIVE") expect(told(resumeSchedule(schedule, start))).toEqual([]);
    else if (allowed("resumed")) expect(resumeSchedule(schedule, start).after.state).toBe("ACTIVE");
    else expect(() => resumeSchedule(schedule, start)).toThrow(`is ${state}`);
    if (state !== "ACTIVE") expect(advance(schedule, idle, at("01:00:00"))).toMatchObject({ runs: [], events: [] });
  }
});

test("nothing happens before its time, and one run when it comes", () => {
  const schedule = aSchedule();
  expect(shown([schedule.nextTime as Date])).toEqual(["00:10:00"]);
  expect(advance(schedule, idle, at("00:09:59.999"))).toMatchObject({ runs: [], events: [], after: schedule });
  const { runs, after, events } = advance(schedule, idle, at("00:10:00"));
  expect(shown(runs)).toEqual(["00:10:00"]);
  expect(after).toMatchObject({ fired: 1, sequence: 2, nextTime: at("00:20:00"), lastTime: at("00:10:00") });
  expect(events).toMatchObject([{ type: "fired", time: at("00:10:00"), after: { nextTime: at("00:20:00") } }]);
});

test.each([
  ["MISSED_RUN_POLICY_NONE", [], 6],
  ["MISSED_RUN_POLICY_LAST", ["01:00:00"], 5],
  ["MISSED_RUN_POLICY_ALL", ["00:40:00", "00:50:00", "01:00:00"], 3],
] as const)("with %s, of six missed runs %j are submitted", (missed, expected, left) => {
  const missedWindow = missed === "MISSED_RUN_POLICY_ALL" ? { seconds: 1_800, nanos: 0 } : undefined;
  const schedule = aSchedule({ missed, missedWindow, overlap: "OVERLAP_POLICY_ALLOW" });
  const { runs, after } = advance(schedule, idle, at("01:05:00"));
  expect(shown(runs)).toEqual(expected);
  expect(after).toMatchObject({ missed: left, fired: expected.length, nextTime: at("01:10:00") });
});

test("a run that is less than a minute late is not missed, whatever the policy", () => {
  const { runs } = advance(aSchedule({ missed: "MISSED_RUN_POLICY_NONE" }), idle, at("00:10:59"));
  expect(shown(runs)).toEqual(["00:10:00"]);
});

test("years without anybody there are passed over quickly, and missed runs are counted up to a thousand", () => {
  const before = performance.now();
  const later = new Date("2028-01-01T00:00:00.500Z");
  const everySecond = aSchedule({ cron: "* * * * * *" });
  const { runs, after } = advance(everySecond, idle, later);
  expect(runs).toHaveLength(1);
  expect(after.missed).toBe(1_000);
  expect(performance.now() - before).toBeLessThan(2_000);
});

test.each([
  ["OVERLAP_POLICY_ALLOW", 1, ["00:10:00"], null, 0],
  ["OVERLAP_POLICY_SKIP", 1, [], null, 1],
  ["OVERLAP_POLICY_BUFFER_ONE", 1, [], "00:10:00", 0],
  ["OVERLAP_POLICY_CANCEL_RUNNING", 1, [], "00:10:00", 0],
  ["OVERLAP_POLICY_SKIP", 0, ["00:10:00"], null, 0],
  ["OVERLAP_POLICY_BUFFER_ONE", 0, ["00:10:00"], null, 0],
] as const)("with %s and %i running, %j is submitted, %s waits and %i is left out", (overlap, live, expected, waits, skipped) => {
  const { runs, after } = advance(aSchedule({ overlap }), { live, failures: 0 }, at("00:10:00"));
  expect(shown(runs)).toEqual(expected);
  expect(after.bufferedTime === null ? null : shown([after.bufferedTime])[0]).toBe(waits);
  expect(after.skipped).toBe(skipped);
});

test("one run waits: with BUFFER_ONE the first, with CANCEL_RUNNING the newest, and it comes when nothing runs", () => {
  const busy = { live: 1, failures: 0 };
  const wait = (overlap: ScheduleSpec["overlap"]) =>
    advance(advance(aSchedule({ overlap }), busy, at("00:10:00")).after, busy, at("00:20:00")).after;
  const first = wait("OVERLAP_POLICY_BUFFER_ONE");
  const newest = wait("OVERLAP_POLICY_CANCEL_RUNNING");
  expect(first).toMatchObject({ bufferedTime: at("00:10:00"), skipped: 1 });
  expect(newest).toMatchObject({ bufferedTime: at("00:20:00"), skipped: 1 });
  const { runs, after } = advance(first, idle, at("00:21:00"));
  expect(shown(runs)).toEqual(["00:10:00"]);
  expect(after).toMatchObject({ bufferedTime: null, nextTime: at("00:30:00") });
});

test("after as many failures as it allows it pauses itself and says so", () => {
  const schedule = aSchedule({ maxConsecutiveFailures: 3 });
  expect(advance(schedule, { live: 0, failures: 2 }, at("00:10:00")).runs).toHaveLength(1);
  const { runs, after, events } = advance(schedule, { live: 0, failures: 3 }, at("00:05:00"));
  expect(runs).toEqual([]);
  expect(after).toMatchObject({ state: "PAUSED", reason: "CONSECUTIVE_FAILURES", nextTime: null });
  expect(after.message).toBe("3 runs one after another have failed");
  expect(told({ events })).toEqual(["paused"]);
});

test("a schedule of one time ends with it, but not before what waits has come", () => {
  const once = aSchedule({ cron: "", time: at("00:10:00"), overlap: "OVERLAP_POLICY_BUFFER_ONE" });
  const done = advance(once, idle, at("00:10:00"));
  expect(told(done)).toEqual(["fired", "ended"]);
  expect(done.after).toMatchObject({ state: "ENDED", reason: "NO_RUN_LEFT" });
  const waiting = advance(once, { live: 1, failures: 0 }, at("00:10:00"));
  expect(told(waiting)).toEqual(["buffered"]);
  expect(waiting.after.state).toBe("ACTIVE");
  expect(told(advance(waiting.after, idle, at("00:11:00")))).toEqual(["fired", "ended"]);
});

test("an ended schedule goes on with another plan, a paused one stays paused", () => {
  const ended = advance(aSchedule({ cron: "", time: at("00:10:00") }), idle, at("00:10:00")).after;
  const spec = completeSchedule(ScheduleSpec.fromPartial({ cron: "0 * * * *" }));
  expect(updateSchedule(ended, spec, "", at("00:15:00")).after).toMatchObject({
    state: "ACTIVE",
    nextTime: at("01:00:00"),
  });
  const paused = pauseSchedule(aSchedule(), { reason: "PAUSED_BY_USER", message: "" }, start).after;
  expect(updateSchedule(paused, spec, "", at("00:15:00")).after).toMatchObject({ state: "PAUSED", nextTime: null });
  expect(() => updateSchedule(ended, spec, "7", start)).toThrow("has changed since it was read");
});

test("each fired fact tells its own job, and the schedule the last", () => {
  const ran = advance(
    aSchedule({ missed: "MISSED_RUN_POLICY_ALL", overlap: "OVERLAP_POLICY_ALLOW" }),
    idle,
    at("00:25:00"),
  );
  const { after, events } = withOutcomes(ran, [{ jobId: "a" }, { jobId: "b" }]);
  expect(after.lastJobId).toBe("b");
  expect(events.filter(({ type }) => type === "fired").map(({ jobId }) => jobId)).toEqual(["a", "b"]);
});

test("a run that a full queue keeps out is left out, and says why", () => {
  const { after, events } = withOutcomes(advance(aSchedule(), idle, at("00:10:00")), [{ refused: "it is full" }]);
  expect(after).toMatchObject({ fired: 0, skipped: 1, lastJobId: null, nextTime: at("00:20:00") });
  expect(events).toMatchObject([{ type: "skipped", time: at("00:10:00"), count: 1, message: "it is full" }]);
});

test("whatever happens, each run of the plan is submitted, waits, is left out or was missed, exactly once", () => {
  const overlaps = ["ALLOW", "SKIP", "BUFFER_ONE", "CANCEL_RUNNING"].map(
    (word) => `OVERLAP_POLICY_${word}` as ScheduleSpec["overlap"],
  );
  const policies = ["NONE", "LAST", "ALL"].map((word) => `MISSED_RUN_POLICY_${word}` as ScheduleSpec["missed"]);
  const step = fc.record({ minutes: fc.integer({ min: 0, max: 90 }), live: fc.integer({ min: 0, max: 2 }) });
  fc.assert(
    fc.property(
      fc.constantFrom(...overlaps),
      fc.constantFrom(...policies),
      fc.array(step),
      (overlap, missed, steps) => {
        let schedule = aSchedule({ overlap, missed });
        let now = start.getTime();
        let sequence = schedule.sequence;
        for (const { minutes, live } of steps) {
          now += minutes * 60_000;
          const move = advance(schedule, { live, failures: 0 }, new Date(now));
          expect(move.events.map(({ after }) => after.sequence)).toEqual(move.events.map((_, n) => sequence + n + 1));
          sequence = move.after.sequence;
          schedule = move.after;
          expect(schedule.nextFireTime?.getTime()).toBeGreaterThan(now);
          if (overlap !== "OVERLAP_POLICY_ALLOW" && live > 0) expect(move.runs).toEqual([]);
        }
        const passed = Math.floor(((schedule.nextTime?.getTime() ?? 0) - at("00:10:00").getTime()) / 600_000);
        const { fired, skipped, bufferedTime } = schedule;
        expect(fired + skipped + schedule.missed + (bufferedTime === null ? 0 : 1)).toBe(passed);
      },
    ),
  );
});
