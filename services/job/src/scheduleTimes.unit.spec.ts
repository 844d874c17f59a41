import { ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { fireTimeOf, lastRun, nextRuns, planOf, runsBetween, shortestGapMs } from "./scheduleTimes.ts";
import { formatLocal, instantOf, isTimeZone, localTime } from "./wallClock.ts";

const now = new Date("2026-01-01T00:00:00Z");
const plan = (part: Partial<ScheduleSpec>) => planOf({ ...ScheduleSpec.fromPartial({}), ...part }, now);

function runs(cron: string, timeZone: string, after: string, count = 4): readonly string[] {
  return nextRuns(plan({ cron, timeZone }), new Date(after), count).map(
    ({ time, change }) => formatLocal(timeZone, time) + (change === "NONE" ? "" : ` ${change}`),
  );
}

test("a run in the gap of the spring comes when the clock has been put forward, once for all in it", () => {
  expect(runs("30 2 * * *", "Europe/Madrid", "2026-03-28T00:00:00Z", 3)).toEqual([
    "2026-03-28T02:30:00+01:00",
    "2026-03-29T03:00:00+02:00 GAP",
    "2026-03-30T02:30:00+02:00",
  ]);
  expect(runs("15,45 2,3 * * *", "Europe/Madrid", "2026-03-28T22:00:00Z", 4)).toEqual([
    "2026-03-29T03:00:00+02:00 GAP",
    "2026-03-29T03:15:00+02:00",
    "2026-03-29T03:45:00+02:00",
    "2026-03-30T02:15:00+02:00",
  ]);
});

test("a run in the hour that autumn repeats comes the first time", () => {
  expect(runs("30 2 * * *", "Europe/Madrid", "2026-10-24T12:00:00Z", 2)).toEqual([
    "2026-10-25T02:30:00+02:00 REPEATED",
    "2026-10-26T02:30:00+01:00",
  ]);
  expect(runs("*/30 1-3 * * *", "America/New_York", "2026-11-01T04:00:00Z", 5)).toEqual([
    "2026-11-01T01:00:00-04:00 REPEATED",
    "2026-11-01T01:30:00-04:00 REPEATED",
    "2026-11-01T02:00:00-05:00",
    "2026-11-01T02:30:00-05:00",
    "2026-11-01T03:00:00-05:00",
  ]);
});

test("a pattern for every hour comes in every hour there is", () => {
  expect(runs("*/30 * * * *", "Europe/Madrid", "2026-10-25T00:15:00Z", 4)).toEqual([
    "2026-10-25T02:30:00+02:00",
    "2026-10-25T02:00:00+01:00",
    "2026-10-25T02:30:00+01:00",
    "2026-10-25T03:00:00+01:00",
  ]);
  expect(runs("0 * * * *", "Europe/Madrid", "2026-03-29T00:00:00Z", 2)).toEqual([
    "2026-03-29T03:00:00+02:00",
    "2026-03-29T04:00:00+02:00",
  ]);
});

test("six fields have seconds, and days of month and week are joined as cron joins them", () => {
  expect(runs("*/20 0 0 1 1 *", "UTC", "2026-12-31T23:59:30Z", 3)).toEqual([
    "2027-01-01T00:00:00+00:00",
    "2027-01-01T00:00:20+00:00",
    "2027-01-01T00:00:40+00:00",
  ]);
  expect(runs("0 0 13 * 5", "UTC", "2026-02-01T00:00:00Z", 3)).toEqual([
    "2026-02-06T00:00:00+00:00",
    "2026-02-13T00:00:00+00:00",
    "2026-02-20T00:00:00+00:00",
  ]);
});

test("what never comes has no run", () => {
  expect(runs("0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z")).toEqual([]);
  expect(runs("0 0 30 2 *", "Europe/Madrid", "2026-01-01T00:00:00Z")).toEqual([]);
});

test("start and end bound every kind of plan", () => {
  const bounds = { startTime: new Date("2026-02-01T00:00:00Z"), endTime: new Date("2026-02-01T00:00:03Z") };
  const times = (part: Partial<ScheduleSpec>) =>
    nextRuns(plan({ ...part, ...bounds }), now, 10).map(({ time }) => time.toISOString().slice(11, 19));
  expect(times({ cron: "* * * * * *" })).toEqual(["00:00:00", "00:00:01", "00:00:02"]);
  expect(times({ interval: { seconds: 2, nanos: 0 } })).toEqual(["00:00:00", "00:00:02"]);
  expect(times({ time: new Date("2026-02-01T00:00:03Z") })).toEqual([]);
});

test("an interval is counted from when the schedule was made, or from its start", () => {
  const interval = { seconds: 90, nanos: 0 };
  expect(plan({ interval }).next(now)?.time.toISOString()).toBe("2026-01-01T00:01:30.000Z");
  expect(plan({ interval }).next(new Date("2026-01-01T00:01:30Z"))?.time.toISOString()).toBe(
    "2026-01-01T00:03:00.000Z",
  );
  expect(plan({ interval, startTime: now }).next(new Date(now.getTime() - 1))?.time).toEqual(now);
});

const zones = ["UTC", "Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"];
const patterns = ["30 2 * * *", "*/7 1-3 * * *", "0 0 1 * *", "*/10 * * * *", "5 4 * * 1-5", "30 1,2,3 29 3 *"];
const instants = fc.date({ min: new Date("2024-01-01"), max: new Date("2029-01-01"), noInvalidDate: true });

test("runs come one after the other, and the next after any moment between two is the second", () => {
  fc.assert(
    fc.property(fc.constantFrom(...zones), fc.constantFrom(...patterns), instants, (timeZone, cron, after) => {
      const ahead = plan({ cron, timeZone });
      const times = nextRuns(ahead, after, 5).map(({ time }) => time.getTime());
      let before = after.getTime();
      for (const time of times) {
        expect(time).toBeGreaterThan(before);
        for (const between of [before, time - 1, Math.floor((before + time) / 2)]) {
          expect(ahead.next(new Date(between))?.time.getTime()).toBe(time);
        }
        before = time;
      }
    }),
    { numRuns: 150 },
  );
});

test("every local time that exists leads to an instant that shows it, the first if there are two", () => {
  fc.assert(
    fc.property(fc.constantFrom(...zones), instants, (timeZone, instant) => {
      const whole = new Date(Math.floor(instant.getTime() / 1_000) * 1_000);
      const local = localTime(timeZone, whole);
      const { time, change } = instantOf(timeZone, local);
      expect(localTime(timeZone, time)).toEqual(local);
      expect(time <= whole).toBe(true);
      if (change === "NONE") expect(time).toEqual(whole);
    }),
  );
});

test("the last run up to a time is the last of all before it", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("* * * * * *", "*/5 * * * *", "0 3 * * *"),
      fc.integer({ min: 1, max: 4_000 }),
      (cron, steps) => {
        const ahead = plan({ cron });
        const from = ahead.next(now)?.time ?? now;
        const gap = shortestGapMs(ahead, now);
        const upTo = new Date(from.getTime() + (steps % 300) * gap + 1);
        const all = runsBetween(ahead, from, new Date(upTo.getTime() + 1), 1_000);
        expect(lastRun(ahead, from, upTo)).toEqual(all.at(-1));
      },
    ),
    { numRuns: 30 },
  );
});

test("jitter is the same whoever asks, spreads evenly, and stays within its bounds", () => {
  const shares = Array.from(
    { length: 2_000 },
    (_, n) => fireTimeOf(`schedule ${n}`, now, 10_000).getTime() - now.getTime(),
  );
  expect(fireTimeOf("schedule 7", now, 10_000).getTime() - now.getTime()).toBe(shares[7]);
  expect(Math.min(...shares)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...shares)).toBeLessThan(10_000);
  for (let tenth = 0; tenth < 10; tenth += 1) {
    const inTenth = shares.filter((ms) => Math.floor(ms / 1_000) === tenth).length;
    expect(inTenth).toBeGreaterThan(130);
    expect(inTenth).toBeLessThan(270);
  }
  expect(fireTimeOf("schedule", now, 0)).toEqual(now);
});

test("names of time zones are known, offsets and inventions are not", () => {
  for (const name of ["UTC", "Europe/Madrid", "America/Argentina/Buenos_Aires", "Etc/GMT+3"])
    expect(isTimeZone(name)).toBe(true);
  for (const name of ["+02:00", "Mars/Phobos", "", "Europe/Madrid; drop", "../etc"])
    expect(isTimeZone(name)).toBe(false);
});
