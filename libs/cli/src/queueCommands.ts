/** `capstan queue …`: where jobs wait for their turn, and what their queues allow. */
import type { Capstan } from "@capstan/client";
import { reasonFromJSON } from "@capstan/proto/capstan/job/v1/job.ts";
import {
  type KeyPolicy,
  Queue,
  QueueSettings,
  type RateLimit,
  WaitRule,
  waitActionFromJSON,
} from "@capstan/proto/capstan/orchestrator/v1/queue.ts";
import {
  QueueView,
  SimulatedLoad,
  SimulateQueueResponse,
} from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import type { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import { type Command, InvalidArgumentError, Option } from "commander";
import { durationOfMs, parseDurationMs } from "./durations.ts";
import { type CommonOptions, duration, limitOption, wholeNumber, withAddress, withCommon } from "./options.ts";
import { note, type OutputFormat, print } from "./output.ts";
import { firstItems } from "./pages.ts";
import { formatDuration, formatQueue, formatQueues } from "./queueView.ts";
import { present, withCapstan } from "./session.ts";
import { formatTable } from "./table.ts";

async function printQueue(output: OutputFormat, answer: { readonly queue: Queue | undefined }): Promise<void> {
  const queue = present(answer.queue);
  await print(output, Queue.toJSON(queue), () => formatQueue(queue));
}

async function listQueues({ limit, output, ...options }: CommonOptions & { readonly limit: number }): Promise<void> {
  await withCapstan(options, async (capstan) => {
    const found = await firstItems(limit, async (page) => {
      const { queues, nextPageToken } = await capstan.queues.listQueues(page);
      return { items: queues, nextPageToken };
    });
    await print(
      output,
      found.map((view) => QueueView.toJSON(view)),
      () => formatQueues(found, new Date()),
    );
  });
}

function getQueue(name: string, options: CommonOptions): Promise<void> {
  return withCapstan(options, async ({ queues }) => {
    const view = present((await queues.getQueue({ queue: name })).queue);
    await print(
      options.output,
      QueueView.toJSON(view),
      () => `${formatQueues([view], new Date())}\n${formatQueue(present(view.queue))}`,
    );
  });
}

/** `100/1m`; `0` takes the limit away. */
function rate(text: string): RateLimit | "none" {
  if (text === "0") return "none";
  const [, count = "", period = ""] = /^(\d{1,6})\/(.+)$/.exec(text) ?? [];
  const periodMs = parseDurationMs(period);
  if (count === "" || periodMs === null) throw new InvalidArgumentError('It must be such as "100/1m", or 0 for none.');
  return { count: Number(count), period: durationOfMs(periodMs) };
}

/** `NO_CAPACITY:10m:move:docker`, `any:1h:fail`; `none` takes all rules away. */
function waitRule(text: string, previous: readonly WaitRule[] = []): readonly WaitRule[] {
  if (text === "none") return [];
  const [reason = "", after = "", action = "", providerKind = "", ...more] = text.split(":");
  const afterMs = parseDurationMs(after);
  const actionMessage = waitActionFromJSON(`WAIT_ACTION_${action.toUpperCase()}`);
  const reasonMessage = reasonFromJSON(`REASON_${reason === "any" ? "UNSPECIFIED" : reason.toUpperCase()}`);
  const isBad =
    afterMs === null || actionMessage === "UNRECOGNIZED" || reasonMessage === "UNRECOGNIZED" || more.length > 0;
  if (isBad)
    throw new InvalidArgumentError(
      'It must be REASON:AFTER:ACTION, such as "NO_CAPACITY:10m:notify" or "any:1h:fail".',
    );
  return [
    ...previous,
    WaitRule.fromPartial({ reason: reasonMessage, after: durationOfMs(afterMs), action: actionMessage, providerKind }),
  ];
}

const policies: Readonly<Record<string, KeyPolicy>> = {
  wait: "KEY_POLICY_WAIT",
  "drop-newest": "KEY_POLICY_DROP_NEWEST",
  "cancel-running": "KEY_POLICY_CANCEL_RUNNING",
};

interface SetOptions extends CommonOptions {
  readonly weight?: number;
  readonly maxRunning?: number;
  readonly maxRunningPerKey?: number;
  readonly keyPolicy?: string;
  readonly rate?: RateLimit | "none";
  readonly ratePerKey?: RateLimit | "none";
  readonly maxDepth?: number;
  readonly ageing?: Duration;
  readonly onWait?: readonly WaitRule[];
}

/** The settings with what was given in their place; the rest stays. */
export function changeSettings(settings: QueueSettings, options: Omit<SetOptions, keyof CommonOptions>): QueueSettings {
  const rateOr = (given: RateLimit | "none" | undefined, old: RateLimit | undefined) =>
    given === "none" ? undefined : (given ?? old);
  return {
    weight: options.weight ?? settings.weight,
    maxRunning: options.maxRunning ?? settings.maxRunning,
    maxRunningPerKey: options.maxRunningPerKey ?? settings.maxRunningPerKey,
    keyPolicy:
      options.keyPolicy === undefined ? settings.keyPolicy : (policies[options.keyPolicy] ?? settings.keyPolicy),
    rate: rateOr(options.rate, settings.rate),
    ratePerKey: rateOr(options.ratePerKey, settings.ratePerKey),
    maxDepth: options.maxDepth ?? settings.maxDepth,
    ageing: options.ageing ?? settings.ageing,
    onWait: [...(options.onWait ?? settings.onWait)],
  };
}

function setQueue(name: string, { address, output, ...options }: SetOptions): Promise<void> {
  return withCapstan({ address }, async ({ queues }) => {
    const { queue } = present((await queues.getQueue({ queue: name })).queue);
    const { settings = QueueSettings.fromPartial({}), etag } = present(queue);
    await printQueue(output, await queues.setQueue({ queue: name, settings: changeSettings(settings, options), etag }));
  });
}

async function pauseQueue(name: string, options: CommonOptions & { readonly message?: string }): Promise<void> {
  await withCapstan(options, async ({ queues }) =>
    printQueue(options.output, await queues.pauseQueue({ queue: name, message: options.message ?? "" })),
  );
}

async function resumeQueue(name: string, options: CommonOptions): Promise<void> {
  await withCapstan(options, async ({ queues }) =>
    printQueue(options.output, await queues.resumeQueue({ queue: name })),
  );
}

async function deleteQueue(name: string, options: CommonOptions): Promise<void> {
  await withCapstan(options, async ({ queues }) => {
    await queues.deleteQueue({ queue: name, etag: "" });
    note(`the settings of queue ${name} are forgotten`);
  });
}

/** `key=a,per-second=5`: one load of a simulation. */
function load(text: string, previous: readonly SimulatedLoad[] = []): readonly SimulatedLoad[] {
  const fields = new Map(text.split(",").map((part) => part.split("=", 2) as [string, string | undefined]));
  const unknown = [...fields.keys()].filter(
    (name) => !["tenant", "queue", "key", "priority", "per-second"].includes(name),
  );
  const perSecond = Number(fields.get("per-second"));
  const priority = Number(fields.get("priority") ?? 0);
  if (unknown.length > 0 || !(perSecond > 0) || !Number.isInteger(priority))
    throw new InvalidArgumentError(
      'It must be such as "key=a,per-second=5"; tenant, queue and priority may be given too.',
    );
  const { tenant = "", queue = "", key: concurrencyKey = "" } = Object.fromEntries(fields);
  return [...previous, SimulatedLoad.fromPartial({ tenant, queue, concurrencyKey, priority, perSecond })];
}

interface SimulateOptions extends CommonOptions {
  readonly slots: number;
  readonly duration?: Duration;
  readonly span?: Duration;
  readonly load: readonly SimulatedLoad[];
}

/** With the settings that the queues of the loads have. */
async function settingsOf(queues: Capstan["queues"], loads: readonly SimulatedLoad[]) {
  const names = [...new Set(loads.map(({ queue }) => queue || "default"))];
  const views = await Promise.all(names.map((name) => queues.getQueue({ queue: name })));
  return Object.fromEntries(
    views.map(({ queue }, index) => [names[index] ?? "", queue?.queue?.settings ?? QueueSettings.fromPartial({})]),
  );
}

function simulateQueue(options: SimulateOptions): Promise<void> {
  return withCapstan(options, async ({ queues }) => {
    const loads = [...options.load];
    const request = { slots: options.slots, duration: options.duration, span: options.span, loads };
    const answer = await queues.simulateQueue({ ...request, queues: await settingsOf(queues, loads) });
    const rows = answer.waits.map((wait, index) => ({ wait, load: loads[index] ?? SimulatedLoad.fromPartial({}) }));
    await print(options.output, SimulateQueueResponse.toJSON(answer), () =>
      formatTable(rows, [
        { title: "TENANT", cell: (row) => row.load.tenant || "default" },
        { title: "QUEUE", cell: (row) => row.load.queue || "default" },
        { title: "KEY", cell: (row) => row.load.concurrencyKey },
        { title: "PER SECOND", cell: (row) => String(row.load.perSecond) },
        { title: "BEGUN", cell: ({ wait }) => String(wait.begun) },
        { title: "P50 WAIT", cell: ({ wait }) => formatDuration(wait.p50) },
        { title: "P99 WAIT", cell: ({ wait }) => formatDuration(wait.p99) },
        { title: "LONGEST", cell: ({ wait }) => formatDuration(wait.max) },
      ]),
    );
  });
}

/** Adds the commands to `capstan queue`. */
export function addQueueCommands(queue: Command): void {
  withCommon(queue.command("list"))
    .description("List the queues that were set, with what is in them.")
    .addOption(limitOption())
    .action(listQueues);
  withCommon(queue.command("get"))
    .description("Show one queue; one that nobody has set works with the settings of a new one.")
    .argument("<queue>")
    .action(getQueue);
  withCommon(queue.command("set"))
    .description("Create a queue, or change what it allows; what is not given stays. 0 is no limit.")
    .argument("<queue>")
    .option("--weight <n>", "its share beside the other queues", wholeNumber(1, 1_000))
    .option("--max-running <n>", "how many of it run at once", wholeNumber(0, 100_000))
    .option("--max-running-per-key <n>", "how many with the same concurrency key run at once", wholeNumber(0, 100_000))
    .addOption(new Option("--key-policy <policy>", "when a key runs as many as it may").choices(Object.keys(policies)))
    .option("--rate <n/period>", 'how many may begin, such as "100/1m"', rate)
    .option("--rate-per-key <n/period>", "the same for each concurrency key", rate)
    .option(
      "--max-depth <n>",
      "how many may be PENDING; more are refused, and told when to come again",
      wholeNumber(0, 10_000_000),
    )
    .option("--ageing <time>", "how long to wait is worth one point of priority", duration)
    .option("--on-wait <rule>", "REASON:AFTER:notify|fail|move[:KIND], or none; may be repeated", waitRule)
    .action(setQueue);
  withCommon(queue.command("pause"))
    .description("Begin nothing more of a queue; what runs goes on.")
    .argument("<queue>")
    .option("-m, --message <text>", "why, for people")
    .action(pauseQueue);
  withCommon(queue.command("resume")).description("End a pause.").argument("<queue>").action(resumeQueue);
  withAddress(queue.command("delete"))
    .description("Forget the settings of a queue; refused while anything waits in it or runs.")
    .argument("<queue>")
    .action(deleteQueue);
  withCommon(queue.command("simulate"))
    .description("Show how long jobs would wait, by the scheduler's own function and the settings the queues have.")
    .addOption(
      new Option("--slots <n>", "how many run at once in all").argParser(wholeNumber(1, 10_000)).makeOptionMandatory(),
    )
    .option("--duration <time>", "how long each job takes (default 1s)", duration)
    .option("--span <time>", "for how long jobs come (default 1m)", duration)
    .addOption(
      new Option("--load <load>", 'who sends what, such as "key=a,per-second=5"; may be repeated')
        .argParser(load)
        .makeOptionMandatory(),
    )
    .action(simulateQueue);
}
