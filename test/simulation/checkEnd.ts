/** What must hold when everything has come to rest, whatever has happened before. */
import { isLive } from "../../services/execution/src/execution.ts";
import { isJobTerminal, isStepTerminal } from "../../services/job/src/job.ts";
import { isEnded, sagaId } from "../../services/orchestrator/src/runJob.ts";
import { checkSchedules } from "./schedules.ts";
import type { World } from "./simulate.ts";

/** `isHasty`: the first thing that does not hold is enough. */
export function checkEnd(world: World, isHasty: boolean): readonly string[] {
  const found: string[] = [];
  for (const check of [checkRest, checkSchedules, checkJobs, checkAttempts, checkFacts]) {
    found.push(...check(world));
    if (isHasty && found.length > 0) break;
  }
  return found;
}

/** Nothing is under way, held, or left behind. */
function checkRest({ jobs, providers, executions, orchestrator, broker, logs, answered }: World): readonly string[] {
  return [
    ...[...answered].filter(([, ids]) => ids.size === 0).map(([key]) => `${key} was never accepted`),
    ...[...jobs.jobs.values()]
      .filter(({ job }) => !isJobTerminal(job.state))
      .map(({ job }) => `job ${job.id} is ${job.state}`),
    ...[...orchestrator.rows.values()]
      .filter(({ saga }) => !isEnded(saga.stage))
      .map(({ saga }) => `saga ${saga.id} is ${saga.stage}: ${saga.message}`),
    ...providers.live().map((id) => `reservation ${id} is held`),
    ...[...executions.rows.values()]
      .filter(({ execution }) => isLive(execution))
      .map(({ execution }) => `execution ${execution.id} is ${execution.state}`),
    ...[...executions.workloads.keys()].map((id) => `the workload of ${id} is left`),
    ...Object.entries(logs).flatMap(([context, { outbox }]) =>
      outbox.length > 0 ? [`${context} has unpublished facts`] : [],
    ),
    ...(broker.isDrained() ? [] : ["facts are not handled"]),
  ];
}

function checkJobs({ jobs, schedules, logs, answered }: World): readonly string[] {
  const runs = [...schedules.known.values()].reduce((sum, each) => sum + each.runs.size, 0);
  const byJob = Map.groupBy(logs.job.facts, ({ aggregateId }) => aggregateId);
  return [
    ...[...answered].flatMap(([key, ids]) => (ids.size > 1 ? [`${key} has ${ids.size} jobs`] : [])),
    ...[...answered.values()].flatMap((ids) =>
      [...ids].filter((id) => !jobs.jobs.has(id)).map((id) => `job ${id} is lost`),
    ),
    ...(jobs.jobs.size > answered.size + runs
      ? [`${answered.size} keys and ${runs} runs have ${jobs.jobs.size} jobs`]
      : []),
    ...[...jobs.jobs.values()].flatMap(({ job }) => {
      const facts = byJob.get(job.id) ?? [];
      const ends = facts.filter(({ isTerminal }) => isTerminal === true);
      return [
        ...(ends.length === 1 ? [] : [`job ${job.id} has ${ends.length} terminal facts`]),
        ...(facts.length === job.sequence
          ? []
          : [`job ${job.id} counts ${job.sequence} facts and has ${facts.length}`]),
        ...(ends[0]?.event === job.state.toLowerCase()
          ? []
          : [`job ${job.id} is ${job.state} and told ${ends[0]?.event}`]),
        ...job.steps
          .filter(({ state }) => !isStepTerminal(state))
          .map(({ name }) => `step ${name} of ${job.id} has not ended`),
      ];
    }),
  ];
}

/** Of each step as many as it says, one at a time, none started twice; what succeeded has run, and ended well. */
function checkAttempts({ jobs, executions, orchestrator }: World): readonly string[] {
  return [
    ...[...executions.starts]
      .filter(([, starts]) => starts > 1)
      .map(([id, starts]) => `${id} was started ${starts} times`),
    ...[...jobs.jobs.values()].flatMap(({ job }) =>
      job.steps.flatMap((step) => {
        const id = sagaId(job.id, step.name, step.attempt);
        const { execution } = executions.rows.get(id) ?? {};
        const maxAttempts = step.retry.maxAttempts;
        const outcomeOf = (attempt: number) => executions.rows.get(sagaId(job.id, step.name, attempt))?.execution.state;
        const succeeded = Array.from({ length: step.attempt }, (_, at) => outcomeOf(at + 1)).filter(
          (state) => state === "SUCCEEDED",
        );
        const isRun = step.state === "SUCCEEDED";
        return [
          ...(isRun && execution?.state !== "SUCCEEDED"
            ? [`step ${step.name} of ${job.id} succeeded, its execution is ${execution?.state}`]
            : []),
          ...(isRun && executions.starts.get(id) !== 1
            ? [`step ${step.name} of ${job.id} succeeded and never ran`]
            : []),
          ...(succeeded.length > 1 ? [`step ${step.name} of ${job.id} succeeded ${succeeded.length} times`] : []),
          ...(step.attempt > maxAttempts ? [`step ${step.name} of ${job.id} was tried ${step.attempt} times`] : []),
        ];
      }),
    ),
    ...[...executions.rows.keys()]
      .filter((id) => !orchestrator.rows.has(id))
      .map((id) => `execution ${id} has no saga`),
  ];
}

/** All of the log is on the streams, of each aggregate in its order. */
function checkFacts({ logs, broker }: World): readonly string[] {
  return (["job", "execution"] as const).flatMap((context) => {
    const arrivals = broker.arrivals(context);
    return [...Map.groupBy(logs[context].facts, ({ aggregateId }) => aggregateId)].flatMap(([id, facts]) => {
      const told = arrivals.get(id) ?? [];
      const missing = facts.filter(({ sequence }) => !told.includes(sequence)).map(({ sequence }) => sequence);
      const isOrdered = told.every((sequence, at) => at === 0 || sequence > (told[at - 1] ?? 0));
      return [
        ...(missing.length > 0 ? [`facts ${missing} of ${context} ${id} are not on the stream`] : []),
        ...(isOrdered ? [] : [`facts of ${context} ${id} came in the order ${told}`]),
      ];
    });
  });
}
