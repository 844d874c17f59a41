/**
 * Follows a job to its end: its facts as they happen, and the output of one execution after the other. An execution is
 * known from the first fact that names it, so that a retry needs no special case.
 */
import type { Capstan } from "@capstan/client";
import { JobEvent } from "@capstan/proto/capstan/job/v1/job_event.ts";
import type { Event } from "@capstan/proto/capstan/job/v1/job_service.ts";
import { startJobOutput } from "./jobOutput.ts";
import { isFinal } from "./jobState.ts";
import { resume } from "./resume.ts";

export interface WatchOptions {
  readonly jobId: string;
  readonly afterSequence: number;
  readonly signal?: AbortSignal;
}

/** The facts of a job after a sequence, then each as it happens; ends after the one that ends the job. */
export async function* watchJob(capstan: Capstan, options: WatchOptions): AsyncGenerator<Event> {
  const { jobId, afterSequence, signal } = options;
  let last = afterSequence;
  const settings = signal === undefined ? {} : { signal };
  const messages = resume({
    open: () => capstan.jobs.watchJob({ jobId, afterSequence: last }, settings),
    async isComplete() {
      const { job } = await capstan.jobs.getJob({ jobId }, settings);
      return job !== undefined && isFinal(job.state) && job.sequence <= last;
    },
    signal,
  });
  for await (const { event } of messages) {
    if (event === undefined) continue;
    last = Math.max(last, event.sequence);
    yield event;
    if (isFinal(moveOf(event).state)) return;
  }
}

function moveOf(event: Event): JobEvent {
  return JobEvent.fromJSON(event.data ?? {});
}

export interface FollowOptions {
  readonly jobId: string;
  /** Only the output of this attempt and later ones. */
  readonly fromAttempt?: number;
  readonly step?: string | undefined;
  /** Called for each move of the job before its output is read further. */
  readonly onMove?: (move: JobEvent) => void;
  readonly signal?: AbortSignal;
}

/** Prints the output of a job as it comes until the job has ended and all of it is printed. */
export async function followJob(capstan: Capstan, options: FollowOptions): Promise<void> {
  const { jobId, fromAttempt = 1, step, onMove = () => {}, signal } = options;
  const output = startJobOutput(capstan, signal);
  try {
    for await (const event of watchJob(capstan, { jobId, afterSequence: 0, signal: output.signal })) {
      const move = moveOf(event);
      onMove(move);
      for (const change of move.steps) {
        const isWanted = change.attempt >= fromAttempt && (step === undefined || change.name === step);
        if (isWanted) output.add(change.executionId);
      }
    }
  } catch (error) {
    // Output that could not be printed has ended the watching; its failure is thrown below.
    if (!output.signal.aborted || signal?.aborted) throw error;
  }
  await output.end();
}
