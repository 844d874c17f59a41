/** Those who look at jobs while everything breaks: they follow a job's facts over broken streams, and read it again and again. */
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf, type HistoryWriter } from "./history.ts";
import type { Platform } from "./platform.ts";

/** Follows the job as a program would, from the last sequence seen, until its terminal fact or until all is over. */
export async function watchToEnd(
  { user }: Pick<Platform, "user">,
  history: HistoryWriter,
  jobId: string,
  over: AbortSignal,
): Promise<void> {
  const reading = new AbortController();
  const reads = readAgainAndAgain({ user }, history, jobId, AbortSignal.any([over, reading.signal]));
  let sequence = 0;
  let place = 0;
  while (!over.aborted) {
    try {
      for await (const { event } of user.jobs.watchJob({ jobId, afterSequence: sequence }, { signal: over })) {
        if (event === undefined) continue;
        ({ sequence } = event);
        history.saw({ observer: `watch ${jobId}`, jobId, how: "watch", place: place++, sequence, type: event.type });
      }
      break; // it ends by itself after the terminal fact
    } catch {
      await sleep(200);
    }
  }
  reading.abort();
  await reads;
}

/** The first read comes right after the submit was answered: it must find the job. */
async function readAgainAndAgain(
  { user }: Pick<Platform, "user">,
  history: HistoryWriter,
  jobId: string,
  over: AbortSignal,
): Promise<void> {
  for (let place = 0; !over.aborted && place < 200; place++) {
    try {
      const { job } = await user.jobs.getJob({ jobId }, { deadlineMs: 3_000 });
      if (job === undefined) continue;
      const { sequence, state } = job;
      history.saw({ observer: `get ${jobId}`, jobId, how: "get", place, sequence, type: state });
    } catch (error) {
      if (codeOf(error) === "NOT_FOUND") history.missed(jobId);
    }
    await sleep(150);
  }
}
