/** `capstan schedule …`: jobs that are submitted by the clock. A schedule is named by its name or its id. */
import { randomUUID } from "node:crypto";
import type { Capstan } from "@capstan/client";
import { Job } from "@capstan/proto/capstan/job/v1/job.ts";
import { Schedule } from "@capstan/proto/capstan/job/v1/schedule.ts";
import { BackfillScheduleResponse, PreviewScheduleResponse } from "@capstan/proto/capstan/job/v1/schedule_service.ts";
import { type Command, InvalidArgumentError } from "commander";
import { UsageError } from "./failure.ts";
import { readMessageFile } from "./jobFile.ts";
import { formatJob } from "./jobView.ts";
import { type CommonOptions, limitOption, wholeNumber, withAddress, withCommon } from "./options.ts";
import { note, type OutputFormat, print } from "./output.ts";
import { firstItems } from "./pages.ts";
import { formatRuns, formatSchedule, formatSchedules } from "./scheduleView.ts";
import { present, withCapstan } from "./session.ts";
import { scheduleFile } from "./templateFields.ts";

async function printSchedule(output: OutputFormat, answer: { readonly schedule: Schedule | undefined }): Promise<void> {
  const schedule = present(answer.schedule);
  await print(output, Schedule.toJSON(schedule), () => formatSchedule(schedule, new Date()));
}

interface ListOptions extends CommonOptions {
  readonly filter?: string;
  readonly limit: number;
}

function listSchedules({ limit, filter = "", output, ...options }: ListOptions): Promise<void> {
  return withCapstan(options, async (capstan) => {
    const found = await firstItems(limit, async (page) => {
      const { schedules, nextPageToken } = await capstan.schedules.listSchedules({ ...page, filter });
      return { items: schedules, nextPageToken };
    });
    await print(
      output,
      found.map((schedule) => Schedule.toJSON(schedule)),
      () => formatSchedules(found, new Date()),
    );
  });
}

type FileOptions = CommonOptions & { readonly file: string };

async function create({ file, validateOnly = false, ...options }: FileOptions & { readonly validateOnly?: boolean }) {
  const made = await readMessageFile(file, "schedule", scheduleFile);
  await withCapstan(options, async ({ schedules }) => {
    const answer = await schedules.createSchedule({ ...made, validateOnly });
    if (validateOnly) note("the platform would take it; nothing was made");
    if (answer.existed) note("it was there already");
    await printSchedule(options.output, answer);
  });
}

async function update({ file, ...options }: FileOptions): Promise<void> {
  const { name, spec } = await readMessageFile(file, "schedule", scheduleFile);
  await withCapstan(options, async ({ schedules }) => {
    await printSchedule(options.output, await schedules.updateSchedule({ schedule: name, spec, etag: "" }));
  });
}

function trigger(schedule: string, options: CommonOptions): Promise<void> {
  return withCapstan(options, async ({ schedules }) => {
    const job = present((await schedules.triggerSchedule({ schedule, requestId: randomUUID() })).job);
    await print(options.output, Job.toJSON(job), () => formatJob(job, new Date()));
  });
}

interface PreviewOptions extends CommonOptions {
  readonly file?: string;
  readonly count: number;
  readonly after?: Date;
}

async function preview(named: string | undefined, { file, count, after, ...options }: PreviewOptions): Promise<void> {
  if ((named === undefined) === (file === undefined)) throw new UsageError("name a schedule, or give a file with -f");
  const spec = file === undefined ? undefined : (await readMessageFile(file, "schedule", scheduleFile)).spec;
  await withCapstan(options, async ({ schedules }) => {
    const answer = await schedules.previewSchedule({ schedule: named ?? "", spec, count, after });
    if (answer.runs.length < count) note("no further run comes");
    await print(options.output, PreviewScheduleResponse.toJSON(answer), () => formatRuns(answer.runs, new Date()));
  });
}

interface BackfillOptions extends CommonOptions {
  readonly from: Date;
  readonly to: Date;
  readonly validateOnly?: boolean;
}

function backfill(schedule: string, { from, to, validateOnly = false, ...options }: BackfillOptions): Promise<void> {
  const request = { schedule, startTime: from, endTime: to };
  return withCapstan(options, async ({ schedules }) => {
    const counted = await schedules.backfillSchedule({ ...request, validateOnly: true });
    note(`${counted.count} runs in that time, ${counted.existed} of them have their job already`);
    const answer = validateOnly ? counted : await schedules.backfillSchedule({ ...request, validateOnly });
    await print(options.output, BackfillScheduleResponse.toJSON(answer), () =>
      answer.jobIds.map((id) => `${id}\n`).join(""),
    );
  });
}

function remove(schedule: string, options: CommonOptions): Promise<void> {
  return withCapstan(options, async ({ schedules }) => {
    await schedules.deleteSchedule({ schedule, etag: "" });
    note(`schedule ${schedule} is forgotten; its jobs stay`);
  });
}

function time(text: string): Date {
  const value = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/.test(text) ? new Date(text) : null;
  if (value !== null && !Number.isNaN(value.getTime())) return value;
  throw new InvalidArgumentError('It must be a time such as "2026-12-24T18:00:00Z".');
}

type Ask = (
  schedules: Capstan["schedules"],
  schedule: string,
  message: string,
) => Promise<{ readonly schedule: Schedule | undefined }>;

function addMove(schedule: Command, name: string, description: string, ask: Ask): Command {
  return withCommon(schedule.command(name))
    .description(description)
    .argument("<schedule>", "name or id")
    .action((named: string, { message = "", ...options }: CommonOptions & { message?: string }) =>
      withCapstan(options, async ({ schedules }) =>
        printSchedule(options.output, await ask(schedules, named, message)),
      ),
    );
}

/** Adds the commands to `capstan schedule`. */
export function addScheduleCommands(schedule: Command): void {
  withCommon(schedule.command("list"))
    .description("List schedules by name.")
    .option("--filter <filter>", "AIP-160, such as: state = PAUSED AND reason = CONSECUTIVE_FAILURES")
    .addOption(limitOption())
    .action(listSchedules);
  addMove(schedule, "get", "Show one schedule.", (schedules, named) => schedules.getSchedule({ schedule: named }));
  withCommon(schedule.command("create"))
    .description(
      "Make the schedule of a YAML or JSON file: the JSON mapping of CreateScheduleRequest, as in examples/.",
    )
    .requiredOption("-f, --file <path>", "the file; - reads standard input")
    .option("--validate-only", "only check it")
    .action(create);
  withCommon(schedule.command("update"))
    .description("Give a schedule another content, from a file as for create.")
    .requiredOption("-f, --file <path>", "the file; - reads standard input")
    .action(update);
  addMove(schedule, "pause", "Submit no more jobs until it is resumed.", (schedules, named, message) =>
    schedules.pauseSchedule({ schedule: named, message }),
  ).option("-m, --message <text>", "why, for people");
  addMove(schedule, "resume", "Go on with the next run after now.", (schedules, named) =>
    schedules.resumeSchedule({ schedule: named }),
  );
  withCommon(schedule.command("trigger"))
    .description("Submit one run now, whatever state the schedule is in and whatever runs.")
    .argument("<schedule>", "name or id")
    .action(trigger);
  withCommon(schedule.command("preview"))
    .description("Show when the next runs come, and what changes of the clock do to them.")
    .argument("[schedule]", "name or id")
    .option("-f, --file <path>", "a schedule that is not made yet")
    .option("-n, --count <n>", "how many runs", wholeNumber(1, 100), 5)
    .option("--after <time>", "runs after this time (default: now)", time)
    .action(preview);
  withCommon(schedule.command("backfill"))
    .description(
      "Submit the runs of a time that has passed, all at once; runs that have their job already are left out.",
    )
    .argument("<schedule>", "name or id")
    .requiredOption("--from <time>", "from this time on", time)
    .requiredOption("--to <time>", "up to this time, itself not included", time)
    .option("--validate-only", "only count them")
    .action(backfill);
  withAddress(schedule.command("delete"))
    .description("Forget a schedule. Its jobs stay, and go on.")
    .argument("<schedule>", "name or id")
    .action(remove);
}
