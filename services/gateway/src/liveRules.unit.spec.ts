/** The small rules of live clients: what is remembered, how often one may speak, what a filter wants, what a position says. */
import { expect, test } from "vitest";
import { eventOfLog } from "./liveEvent.ts";
import { createMatcher, hasLabels, type LiveFilter } from "./liveFilter.ts";
import { createMessageReader, idOfMessage } from "./liveMessage.ts";
import { createRecall } from "./liveRecall.ts";
import { createTokens } from "./liveTokens.ts";
import { positionText, readPosition } from "./sseJobs.ts";

const limits = { maxSubscriptions: 10, maxMessageBytes: 1_000, maxReplay: 100 };
const jobId = "01a1ff42-efb4-7000-928c-78aa3bb7d9a1";

test("a fact is repeated if its aggregate has told its number or a later one", () => {
  const recall = createRecall(1_000_000);
  const never = () => expect.unreachable("its time is not asked");
  expect(recall.isRepeated("a", 1, never)).toBe(false);
  expect(recall.isRepeated("a", 2, never)).toBe(false);
  expect(recall.isRepeated("a", 1, never)).toBe(true);
  expect(recall.isRepeated("a", 2, never)).toBe(true);
  expect(recall.isRepeated("b", 1, never)).toBe(false);
});

test("of a stream that was lost, what is older than all that is remembered counts as told, and nothing younger does", () => {
  const recall = createRecall(1_000_000, 2);
  recall.noteRebuilt();
  expect(recall.isRepeated("old", 1, () => 900_000)).toBe(true);
  expect(recall.isRepeated("a", 1, () => 1_000_000)).toBe(false);
  for (const [at, id] of ["b", "c", "d", "e", "f"].entries()) recall.isRepeated(id, 1, () => 2_000_000 + at);
  // Forgotten by now, and told by its time.
  expect(recall.isRepeated("a", 1, () => 1_000_000)).toBe(true);
  expect(recall.isRepeated("late", 1, () => 1_999_999)).toBe(false);
});

test("so many messages may come at once, and then so many a second", () => {
  const tokens = createTokens({ perSecond: 10, burst: 3 }, 0);
  expect([0, 0, 0, 0, 99, 100, 101, 10_000].map((now) => tokens.take(now))).toEqual([
    ...[true, true, true, false],
    ...[false, true, false, true],
  ]);
});

function anEvent(type: string, data: object, text = JSON.stringify(data, null, 1)) {
  const logged = { id: "i", sequence: 7, causationId: "c", traceparent: "", isTerminal: false };
  return eventOfLog(jobId, "default", { ...logged, type: `capstan.job.v1.${type}`, time: new Date(0), dataJson: text });
}

test("a filter wants what all of its parts want", () => {
  const event = anEvent("job.failed", { state: "JOB_STATE_FAILED", queue: "mail" });
  const wanted: readonly LiveFilter[] = [
    {},
    { types: ["job.failed"] },
    { types: ["step.ready", "job.*"] },
    { types: ["*.failed"] },
    { types: ["capstan.job.v1.job.failed"] },
    { states: ["FAILED", "SUCCEEDED"], queue: "mail", jobId },
  ];
  expect(wanted.map((filter) => createMatcher(filter)(event))).toEqual(wanted.map(() => true));
  const unwanted: readonly LiveFilter[] = [
    { types: ["job.succeeded"] },
    { types: ["capstan.execution.v1.job.failed"] },
    { states: ["TIMED_OUT"] },
    { queue: "default" },
    { jobId: "another" },
    { executionId: "another" },
    { types: ["job.*"], states: ["FAILED"], queue: "default" },
  ];
  expect(unwanted.map((filter) => createMatcher(filter)(event))).toEqual(unwanted.map(() => false));
  expect(hasLabels({ team: "red", stage: "test" }, { team: "red" })).toBe(true);
  expect(hasLabels({ team: "blue" }, { team: "red" })).toBe(false);
});

test("an event is one line of JSON, written once for all who get the same", () => {
  const event = anEvent("job.started", { state: "JOB_STATE_RUNNING", name: "a\nb" });
  expect(event.json).not.toContain("\n");
  expect(JSON.parse(event.json)).toMatchObject({
    type: "capstan.job.v1.job.started",
    sequence: 7,
    correlationid: jobId,
    data: { name: "a\nb" },
  });
  let written = 0;
  const make = (json: string) => {
    written += 1;
    return json;
  };
  expect(event.frame("a", make)).toBe(event.frame("a", make));
  event.frame("b", make);
  expect(written).toBe(2);
});

test.each([
  '{"state":"JOB_STA',
  "",
  "null",
  "7",
  "no\nJSON",
])("a fact whose data is garbled to %j is told without it", (text) => {
  const event = anEvent("job.started", {}, text);
  expect(JSON.parse(event.json)).toMatchObject({ type: "capstan.job.v1.job.started", sequence: 7, data: {} });
  expect(createMatcher({ types: ["job.*"] })(event)).toBe(true);
  expect(createMatcher({ queue: "mail", states: ["RUNNING"] })(event)).toBe(false);
});

test("a position is read as it was written, and nothing else is one", () => {
  const position = { epoch: 1_795_000_000_000, sequence: 12_345_678, time: 1_795_000_001_234 };
  expect(readPosition(positionText(position))).toEqual(position);
  for (const text of ["", "7", "a-b-c", "a-1", "a-1-b-2", "A-1-b", `a-${"9".repeat(16)}-b`])
    expect(readPosition(text)).toBeNull();
});

test("messages are read with their defaults", () => {
  const read = createMessageReader(limits);
  expect(read('{"type":"ping"}')).toEqual({ type: "ping" });
  expect(read('{"type":"subscribe","id":"a","topic":"jobs"}')).toEqual({
    type: "subscribe",
    id: "a",
    topic: "jobs",
    filter: {},
    replay: 0,
    afterSequence: null,
  });
});

test("whatever is no message is refused by the name of the field, never by a failure of ours", () => {
  const read = createMessageReader(limits);
  const subscribe = { type: "subscribe", id: "a", topic: "jobs" };
  const bad: readonly (readonly [unknown, string])[] = [
    [null, "message"],
    [[], "message"],
    [{}, "type"],
    [{ type: "shout" }, "type"],
    [{ type: "unsubscribe" }, "id"],
    [{ ...subscribe, id: "x".repeat(65) }, "id"],
    [{ ...subscribe, topic: "weather" }, "topic"],
    [{ ...subscribe, more: 1 }, "more"],
    [{ ...subscribe, replay: 101 }, "replay"],
    [{ ...subscribe, replay: -1 }, "replay"],
    [{ ...subscribe, replay: 1.5 }, "replay"],
    [{ ...subscribe, filter: [] }, "filter"],
    [{ ...subscribe, filter: { jobId: "no id" } }, "filter.jobId"],
    [{ ...subscribe, filter: { types: ["job"] } }, "filter.types.0"],
    [{ ...subscribe, filter: { types: Array.from({ length: 33 }, () => "job.*") } }, "filter.types"],
    [{ ...subscribe, filter: { labels: { "A B": "x" } } }, "filter.labels.A B"],
    [{ ...subscribe, filter: { labels: { a: "x".repeat(257) } } }, "filter.labels.a"],
    [{ ...subscribe, filter: { executionId: jobId } }, "filter.executionId"],
    [{ ...subscribe, afterSequence: 1 }, "afterSequence"],
    [{ ...subscribe, topic: "logs" }, "filter.executionId"],
    [{ ...subscribe, topic: "job", filter: { jobId }, afterSequence: 1, replay: 1 }, "replay"],
  ];
  for (const [message, field] of bad) {
    expect(() => read(JSON.stringify(message)), JSON.stringify(message)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", fields: [expect.objectContaining({ field })] }),
    );
  }
  expect(idOfMessage('{"type":"nonsense","id" : "a.b"')).toBe("a.b");
  expect(idOfMessage("nonsense")).toBeUndefined();
});
