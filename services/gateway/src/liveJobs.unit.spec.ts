/** Followers of one job each, while the feed of facts stands still; with it they are tested end to end. */
import type { JobEventCursor } from "@capstan/proto/capstan/job/v1/job_internal_service.ts";
import { pino } from "pino";
import { expect, onTestFinished, test, vi } from "vitest";
import { createJobFollowers } from "./liveJobs.ts";

const jobId = "01a1ff42-efb4-7000-928c-78aa3bb7d9a1";
const logged = { id: "i", causationId: "", traceparent: "", time: new Date(0), dataJson: "{}" };
const facts = [
  { ...logged, sequence: 1, type: "capstan.job.v1.job.submitted", isTerminal: false },
  { ...logged, sequence: 2, type: "capstan.job.v1.job.cancelled", isTerminal: true },
];

test("who begins to follow while nothing can be read from NATS is told what the log has, as it grows", async () => {
  let length = 1;
  const read = async (cursors: readonly JobEventCursor[]) =>
    cursors.map(({ afterSequence }) => ({
      found: true,
      hasEnded: length === 2,
      sequence: length,
      events: facts.slice(0, length).filter(({ sequence }) => sequence > afterSequence),
      labels: {},
    }));
  const feed = { isOpen: false, listen: () => ({ stop: () => {} }) };
  const followers = createJobFollowers({ feed, read, log: pino({ level: "silent" }) });
  onTestFinished(() => followers.close());
  const told: number[] = [];
  const onEnd = vi.fn();
  followers.follow(
    { jobId, tenant: "default", afterSequence: 0, replay: 0 },
    { onBegin: () => {}, take: ({ sequence }) => told.push(sequence) > 0, onEnd, onFail: () => {} },
  );
  await vi.waitFor(() => expect(told).toEqual([1]));
  length = 2;
  await vi.waitFor(() => expect(told).toEqual([1, 2]), 30_000);
  expect(onEnd).toHaveBeenCalledTimes(1);
});
