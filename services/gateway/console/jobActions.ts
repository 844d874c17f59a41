/** What can be done to jobs, from a list or from one: each asks once, says what it will do, and tells what has become of it. */
import { ApiError, messageOf, newRequestId, post } from "./api.ts";
import { plural } from "./format.ts";
import type { Job } from "./json.ts";
import { go, link } from "./router.ts";
import { ask, whyAsked } from "./ui/dialog.ts";
import { say, sayFailure } from "./ui/toast.ts";

interface JobName {
  readonly id: string;
  readonly name: string;
}

const atOnce = 8;

/** Calls for each, a few at a time; gives back those that were refused with why. */
async function forEachJob(
  jobs: readonly JobName[],
  act: (job: JobName) => Promise<unknown>,
): Promise<readonly unknown[]> {
  const todo = [...jobs];
  const refusals: unknown[] = [];
  async function lane(): Promise<void> {
    for (let job = todo.shift(); job !== undefined; job = todo.shift()) {
      await act(job).catch((error: unknown) => refusals.push(error));
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane));
  return refusals;
}

function tell(done: string, asked: number, refusals: readonly unknown[]): void {
  if (refusals.length === 0) return say(`${plural(asked, "job")} ${done}`);
  const [first] = refusals;
  if (asked === 1) return sayFailure(first);
  const count = asked - refusals.length;
  sayFailure(new Error(`${plural(count, "job")} ${done}, ${refusals.length} not: ${messageOf(first)}`));
}

function named(jobs: readonly JobName[]): string {
  return jobs.length === 1 ? `“${jobs[0]?.name}”` : plural(jobs.length, "job");
}

/** True if the person meant it. */
export async function cancelJobs(jobs: readonly JobName[]): Promise<boolean> {
  const reason = await ask({
    title: `Cancel ${named(jobs)}?`,
    text:
      jobs.length === 1
        ? "What runs is asked to stop, and killed after its grace. Steps that wait never begin; compensations and cancel hooks run. A cancelled job cannot go on, only be run again."
        : "What runs in them is asked to stop, and killed after its grace. Steps that wait never begin. Cancelled jobs cannot go on, only be run again. Those that have ended stay as they are.",
    verb: jobs.length === 1 ? "Cancel the job" : `Cancel ${plural(jobs.length, "job")}`,
    isDestructive: true,
    reason: whyAsked,
  });
  if (reason === null) return false;
  tell("asked to end", jobs.length, await forEachJob(jobs, ({ id }) => post(`jobs/${id}:cancel`, { message: reason })));
  return true;
}

/** Runs jobs again as new ones; of one, leads to it. */
export async function retryJobs(jobs: readonly JobName[], { fromFailed = false } = {}): Promise<boolean> {
  const answer = await ask({
    title: `Run ${named(jobs)} again?`,
    text: fromFailed
      ? "A new job begins. Steps that have succeeded keep their results; those that have not run again, and what depends on them."
      : `A new job with the same spec begins for each that has ended without success${jobs.length === 1 ? "" : "; others are left alone"}. It is linked to the old one, which stays as it is.`,
    verb: jobs.length === 1 ? "Run it again" : `Run ${plural(jobs.length, "job")} again`,
  });
  if (answer === null) return false;
  const made: string[] = [];
  const refusals = await forEachJob(jobs, async ({ id }) => {
    const { job } = await post<{ job?: Job }>(`jobs/${id}:retry`, { requestId: newRequestId(), fromFailed });
    if (job?.id !== undefined) made.push(job.id);
  });
  const [only] = made;
  if (jobs.length === 1 && only !== undefined) {
    say("Runs again as a new job");
    go(link(`jobs/${only}`));
  } else tell("begun again", jobs.length, refusals);
  return true;
}

export async function pauseJob({ id, name }: JobName): Promise<boolean> {
  const reason = await ask({
    title: `Pause “${name}”?`,
    text: "Nothing of it begins any more until it is resumed; what runs goes on. Its timeout is not stopped.",
    verb: "Pause",
    reason: whyAsked,
  });
  if (reason === null) return false;
  return act(() => post(`jobs/${id}:pause`, { message: reason }), "Paused");
}

export function resumeJob({ id }: JobName): Promise<boolean> {
  return act(() => post(`jobs/${id}:resume`), "Goes on");
}

/** Says what has become of one call, unless `done` is null; true if it was done. */
export async function act(work: () => Promise<unknown>, done: string | null): Promise<boolean> {
  try {
    await work();
    if (done !== null) say(done);
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    sayFailure(error);
    return false;
  }
}
