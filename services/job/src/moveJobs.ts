/** The one way a job that exists is moved: lock many, decide each, save all with their facts, commit, tell. */
import { appendFacts, type Fact, inTransaction, type Pool } from "@capstan/postgres";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Change, Job } from "./job.ts";
import { factOf } from "./jobProto.ts";
import { loadSpecs, lockJobs, type Saved, saveJobs } from "./jobStore.ts";

/** A change with the id of the command or fact that led to it. */
export interface CausedChange {
  readonly change: Change;
  readonly causationId: string;
}

/** What was decided for a job: its changes in order, and the job after the last (also when only a waiting reason changed). */
export interface Decision {
  readonly changes: readonly CausedChange[];
  readonly after: Job;
}

/** Decides about one locked job; `undefined` when nothing changes. Throwing undoes the whole transaction. */
export type Decide = (job: Job, now: Date) => Decision | undefined;

export function oneChange(change: Change | null, causationId: string): Decision | undefined {
  return change === null ? undefined : { changes: [{ change, causationId }], after: change.job };
}

export type MoveJobs = (ids: readonly string[], decide: Decide) => Promise<ReadonlyMap<string, Job>>;

/** Gives back how to move jobs; it resolves after COMMIT with every job that was found, as it is then. */
export function createMoveJobs(pool: Pool, onCommit: (jobs: readonly Job[]) => void): MoveJobs {
  return async (ids, decide) => {
    const { jobs, saved } = await inTransaction(pool, async (db) => {
      const { jobs, now } = await lockJobs(db, ids);
      const decisions = [...jobs.values()].flatMap((before) => {
        const decision = decide(before, now);
        return decision === undefined ? [] : [{ before, ...decision }];
      });
      const saved = decisions.map(({ before, after }): Saved => ({ before, after }));
      if (saved.length > 0) await saveJobs(db, saved);
      const facts = await factsOf(decisions.flatMap(({ changes }) => changes));
      if (facts.length > 0) await appendFacts(db, facts);
      for (const { after } of saved) jobs.set(after.id, after);
      return { jobs, saved };

      async function factsOf(changes: readonly CausedChange[]): Promise<readonly Fact[]> {
        const ready = changes.filter(({ change }) => change.moved.some(({ state }) => state === "READY"));
        const specs =
          ready.length > 0
            ? await loadSpecs(
                db,
                ready.map(({ change }) => change.job.id),
              )
            : new Map();
        return changes.map(({ change, causationId }) => {
          const spec: unknown = specs.get(change.job.id);
          return factOf(change, spec === undefined ? null : JobSpec.fromJSON(spec), causationId);
        });
      }
    });
    if (saved.length > 0) onCommit(saved.map(({ after }) => after));
    return jobs;
  };
}
