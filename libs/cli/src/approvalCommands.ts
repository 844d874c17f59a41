/** `capstan approval …`: what waits for a person, in all jobs. Deciding is `capstan job approve` and `reject`. */
import type { Capstan } from "@capstan/client";
import { type Job, Step } from "@capstan/proto/capstan/job/v1/job.ts";
import type { Command } from "commander";
import { formatAge } from "./durations.ts";
import { type CommonOptions, limitOption, withCommon } from "./options.ts";
import { note, print, terminalWidth } from "./output.ts";
import { firstItems } from "./pages.ts";
import { withCapstan } from "./session.ts";
import { type Column, formatTable } from "./table.ts";

/** A step, or an item of one, that waits for a decision. */
interface WaitingApproval {
  readonly job: Job;
  readonly step: Step;
}

export function isWaiting({ state, reason }: Step): boolean {
  return state === "STEP_STATE_SUSPENDED" && reason === "REASON_APPROVAL";
}

/** Items are not among the steps of a job: they are asked for where there are some that may wait. */
async function approvalsOf({ jobs }: Capstan, job: Job): Promise<readonly WaitingApproval[]> {
  const found = job.steps.filter(isWaiting);
  const kinds = new Map(job.spec?.steps.map(({ name, approval }) => [name, approval !== undefined]));
  const parents = job.steps.filter(({ name, items }) => kinds.get(name) === true && (items?.waiting ?? 0) > 0);
  for (const { name: parentStep } of parents) {
    const items = await firstItems(1_000, async (page) => {
      const { steps, nextPageToken } = await jobs.listSteps({ jobId: job.id, parentStep, ...page });
      return { items: steps, nextPageToken };
    });
    found.push(...items.filter(isWaiting));
  }
  return found.map((step) => ({ job, step }));
}

export function formatApprovals(waiting: readonly WaitingApproval[], now: Date, maxWidth: number | undefined): string {
  const columns: readonly Column<WaitingApproval>[] = [
    { title: "JOB", cell: ({ job }) => job.id },
    { title: "NAME", cell: ({ job }) => job.spec?.name ?? "" },
    { title: "STEP", cell: ({ step }) => step.name },
    {
      title: "WAITS",
      cell: ({ step: { stateTime } }) =>
        stateTime === undefined ? "" : formatAge(now.getTime() - stateTime.getTime()),
    },
    { title: "UNTIL", cell: ({ step }) => step.dueTime?.toISOString() ?? "" },
    { title: "MESSAGE", cell: ({ step }) => step.message },
  ];
  return formatTable(waiting, columns, maxWidth);
}

async function listApprovals(options: CommonOptions & { readonly limit: number }): Promise<void> {
  await withCapstan(options, async (capstan) => {
    const jobs = await firstItems(options.limit, async (page) => {
      const request = { ...page, filter: "waits_for = APPROVAL", orderBy: "create_time" };
      const { jobs, nextPageToken } = await capstan.jobs.listJobs(request);
      return { items: jobs, nextPageToken };
    });
    const waiting = (await Promise.all(jobs.map((job) => approvalsOf(capstan, job)))).flat();
    await print(
      options.output,
      waiting.map(({ job, step }) => ({ jobId: job.id, name: job.spec?.name ?? "", step: Step.toJSON(step) })),
      () => formatApprovals(waiting, new Date(), terminalWidth()),
    );
    if (waiting.length === 0) note("nothing waits for an approval");
    else if (options.output === "table") note("decide with capstan job approve JOB --step STEP, or reject");
  });
}

/** Adds the commands to `capstan approval`. */
export function addApprovalCommands(approval: Command): void {
  withCommon(approval.command("list"))
    .description("List the steps that wait for a person, those of the oldest jobs first.")
    .addOption(limitOption())
    .action(listApprovals);
}
