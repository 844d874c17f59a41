/**
 * Schedules of the job context: what they do when a run is due is told by the true rules. One pass is one transaction, in which the runs
 * are submitted and the schedule goes on; whoever runs it may be killed before it and after it.
 */
import { uuidv5 } from "@capstan/postgres";
import type { ScheduleSpec } from "@capstan/proto/capstan/job/v1/schedule.ts";
import type { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { isJobTerminal } from "../../services/job/src/job.ts";
import { createSchedule, type Schedule, type ScheduleMove } from "../../services/job/src/schedule.ts";
import { scheduleFact } from "../../services/job/src/scheduleProto.ts";
import { type Advance, advance, withOutcomes } from "../../services/job/src/scheduleRuns.ts";
import { planOf, runsBetween } from "../../services/job/src/scheduleTimes.ts";
import type { FactLog } from "./facts.ts";
import type { JobContext } from "./jobContext.ts";
import type { Random } from "./scheduler.ts";
import type { Defect, World } from "./simulate.ts";

interface Known {
  schedule: Schedule;
  /** The job of each run, by the time of the run. */
  readonly runs: Map<number, string>;
}

export interface Schedules {
  /** By name. */
  readonly known: ReadonlyMap<string, Known>;
  /** Makes one; the same again changes nothing. */
  create(name: string, spec: ScheduleSpec): void;
  /** Submits what is due. */
  fire(): void;
}

interface Options {
  readonly log: FactLog;
  readonly jobs: JobContext;
  readonly clock: () => number;
  readonly random: Random;
  readonly violate: (what: string) => void;
  readonly has: (defect: Defect) => boolean;
}

export function createSchedules({ log, jobs, clock, random, violate, has }: Options): Schedules {
  const known = new Map<string, Known>();

  function tell({ events }: ScheduleMove): void {
    log.append(events.map((event) => scheduleFact(event, null)));
  }

  function isLive(jobId: string): boolean {
    const { job } = jobs.jobs.get(jobId) ?? {};
    return job !== undefined && !isJobTerminal(job.state);
  }

  /** Gives back what became of the runs. */
  function submit({ schedule, runs }: Known, advanced: Advance): readonly { readonly jobId: string }[] {
    return advanced.runs.map((time) => {
      const key = `${schedule.id} ${time.toISOString()}`;
      if (runs.has(time.getTime())) violate(`the run ${key} was submitted before`);
      const jobId = jobs.submit(key, uuidv5(`simulated run ${key}`), schedule.spec.job as JobSpec, null);
      runs.set(time.getTime(), jobId);
      return { jobId };
    });
  }

  function fireOne(one: Known): void {
    const live = [...one.runs.values()].filter(isLive);
    const advanced = advance(one.schedule, { live: live.length, failures: 0 }, new Date(clock()));
    const move = withOutcomes(advanced, submit(one, advanced));
    if (has("runs are saved before their schedule") && random.chance(0.3)) return;
    tell(move);
    one.schedule = move.after;
    // A newer run takes the place of those that run.
    const { bufferedTime, spec } = one.schedule;
    if (bufferedTime !== null && spec.overlap === "OVERLAP_POLICY_CANCEL_RUNNING") live.forEach(jobs.cancel);
  }

  return {
    known,
    create(name, spec) {
      if (known.has(name)) return;
      const id = uuidv5(`simulated ${name}`);
      const move = createSchedule({ id, tenant: "default", name, spec }, new Date(clock()), false);
      tell(move);
      known.set(name, { schedule: move.after, runs: new Map() });
    },
    fire() {
      for (const one of known.values()) fireOne(one);
    },
  };
}

/** Each run of its plan was submitted once, left out or missed, and none is left. */
export function checkSchedules({ schedules }: Pick<World, "schedules">): readonly string[] {
  return [...schedules.known.values()].flatMap(({ schedule, runs }) => {
    const { name, spec, state, createTime, fired, missed, skipped } = schedule;
    if (state !== "ENDED") return [`schedule ${name} is ${state}`];
    const { endTime = createTime } = spec;
    const planned = runsBetween(planOf(spec, createTime), createTime, endTime, 1_000).length;
    return [
      ...(fired + missed + skipped === planned
        ? []
        : [`of ${planned} runs of ${name} ${fired} were submitted, ${missed} missed and ${skipped} left out`]),
      ...(runs.size === fired ? [] : [`${fired} runs of ${name} have ${runs.size} jobs`]),
    ];
  });
}
