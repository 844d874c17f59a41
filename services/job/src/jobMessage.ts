/** Jobs and steps as users are shown them. */
import { Job as JobMessage, type Step as StepMessage } from "@capstan/proto/capstan/job/v1/job.ts";
import { JobSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import { reasonMessage } from "./jobProto.ts";
import type { JobView } from "./jobQueries.ts";
import type { ItemCountsView, StepView } from "./stepQueries.ts";
import { waitsFor } from "./waitsFor.ts";

export function toMessage(view: JobView): JobMessage {
  const spec = JobSpec.fromJSON(view.spec);
  const isOpen = view.steps.length === 1 ? () => false : openAmong(view.steps);
  return {
    ...JobMessage.fromPartial({
      id: view.id,
      tenant: view.tenant,
      state: `JOB_STATE_${view.state}`,
      reason: reasonMessage(view.reason),
      message: view.message,
      stateTime: view.stateTime,
      createTime: view.createTime,
      startTime: view.startTime ?? undefined,
      endTime: view.endTime ?? undefined,
      deadlineTime: view.deadlineTime ?? undefined,
      result: view.result ?? undefined,
      retryOf: view.retryOf ?? "",
      idempotencyKey: view.idempotencyKey ?? "",
      sequence: view.sequence,
      template: view.template ?? "",
      templateVersion: view.templateVersion ?? 0,
      scheduleId: view.scheduleId ?? "",
      rerunOf: view.rerunOf ?? "",
      parentJobId: view.parentJobId ?? "",
      parentStep: view.parentStep ?? "",
      pauseTime: view.pauseTime ?? undefined,
    }),
    spec,
    steps: stepMessages(spec, view.steps, view.items ?? {}, isOpen),
  };
}

function openAmong(steps: readonly StepView[]): (name: string) => boolean {
  const open = new Set(steps.filter(({ endTime }) => endTime === null).map(({ name }) => name));
  return (name) => open.has(name);
}

/** Steps with the counts of their items, and in words what they wait for; `isOpen` says which steps have not ended. */
export function stepMessages(
  spec: JobSpec,
  steps: readonly StepView[],
  items: ItemCountsView,
  isOpen: (name: string) => boolean,
): StepMessage[] {
  const specs = new Map(spec.steps.map((step) => [step.name, step]));
  return steps.map((step) => {
    const own = step.reason === "WAITING_DEPENDENCY" ? specs.get(step.name) : undefined;
    const message = step.message || (own === undefined ? "" : waitsFor(spec, own, isOpen));
    return { ...stepMessage(step), message, items: items[step.name] };
  });
}

function stepMessage(step: StepView): StepMessage {
  return {
    name: step.name,
    state: `STEP_STATE_${step.state}`,
    reason: reasonMessage(step.reason),
    message: step.message,
    stateTime: new Date(step.stateTime),
    attempt: step.attempt,
    executionId: step.executionId ?? "",
    dueTime: step.dueTime === null ? undefined : new Date(step.dueTime),
    exitCode: step.exitCode ?? undefined,
    result: step.result ?? undefined,
    startTime: step.startTime === null ? undefined : new Date(step.startTime),
    endTime: step.endTime === null ? undefined : new Date(step.endTime),
    providerName: step.providerName,
    childJobId: step.childJobId ?? "",
    items: undefined,
  };
}
