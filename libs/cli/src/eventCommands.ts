/** `capstan events …`: the facts of the platform, live from NATS, and those that could not be handled. */
import { DeadLetter } from "@capstan/proto/capstan/orchestrator/v1/saga_service.ts";
import { type Command, Option } from "commander";
import { type EventChoice, isChosen, toCloudEvent } from "./cloudEvent.ts";
import { formatAge } from "./durations.ts";
import { factLine } from "./factView.ts";
import { UsageError } from "./failure.ts";
import { type FactStart, readFacts } from "./natsFacts.ts";
import { type CommonOptions, limitOption, wholeNumber, withCommon, withOutput } from "./options.ts";
import { type OutputFormat, print, printNext, terminalWidth } from "./output.ts";
import { firstItems } from "./pages.ts";
import { addRebuildCommand } from "./rebuildCommand.ts";
import { withCapstan } from "./session.ts";
import { formatTable } from "./table.ts";

interface TailOptions extends EventChoice {
  readonly output: OutputFormat;
  readonly nats: string;
  readonly subject: string;
  readonly sinceSequence?: number;
  readonly all?: true;
}

async function tail(options: TailOptions): Promise<void> {
  const { nats: url, subject, output } = options;
  const start: FactStart = options.all ? "all" : (options.sinceSequence ?? "new");
  await readFacts({ url, subject, start }, async ({ headers, data }) => {
    const event = toCloudEvent({ get: (name) => headers?.get(name) ?? "" }, data);
    if (!isChosen(event, options)) return;
    const view = { ...event, time: new Date(event.time), aggregateId: event.subject };
    await printNext(output, event, () => factLine(view));
  });
}

async function listDeadLetters({
  limit,
  output,
  ...options
}: CommonOptions & { readonly limit: number }): Promise<void> {
  await withCapstan(options, async ({ sagas }) => {
    const letters = await firstItems(limit, async (page) => {
      const { deadLetters, nextPageToken } = await sagas.listDeadLetters(page);
      return { items: deadLetters, nextPageToken };
    });
    const now = Date.now();
    const asTable = () =>
      formatTable(
        letters,
        [
          { title: "ID", cell: ({ id }) => id },
          { title: "AGE", cell: ({ createTime }) => formatAge(now - (createTime?.getTime() ?? now)) },
          { title: "STREAM", cell: ({ stream, streamSequence }) => `${stream} #${streamSequence}` },
          { title: "SUBJECT", cell: ({ subject }) => subject },
          { title: "ERROR", cell: ({ error }) => error },
        ],
        terminalWidth(),
      );
    await print(
      output,
      letters.map((letter) => DeadLetter.toJSON(letter)),
      asTable,
    );
  });
}

async function replay(given: readonly string[], options: CommonOptions & { readonly all?: true }): Promise<void> {
  if (given.length > 0 === (options.all === true)) throw new UsageError("name dead letters, or give --all");
  await withCapstan(options, async ({ sagas }) => {
    const listed = options.all ? (await sagas.listDeadLetters({ pageSize: 1_000, pageToken: "" })).deadLetters : [];
    const deadLetterIds = options.all ? listed.map(({ id }) => id) : [...given];
    const { resolvedIds } =
      deadLetterIds.length === 0 ? { resolvedIds: [] } : await sagas.replayDeadLetters({ deadLetterIds });
    const results = deadLetterIds.map((id) => ({ id, isResolved: resolvedIds.includes(id) }));
    await print(options.output, results, () =>
      formatTable(results, [
        { title: "ID", cell: ({ id }) => id },
        { title: "RESOLVED", cell: ({ isResolved }) => (isResolved ? "yes" : "no") },
      ]),
    );
  });
}

/** Adds the commands to `capstan events`. */
export function addEventCommands(events: Command): void {
  withOutput(events.command("tail"))
    .description("Print facts as they happen, one line each, until Ctrl-C. Facts of one context come in order.")
    .addOption(
      new Option("--nats <url>", "where NATS listens").env("CAPSTAN_NATS_URL").default("nats://127.0.0.1:7122"),
    )
    .option("--subject <subject>", "only these, with the wildcards of NATS", "capstan.v1.>")
    .option("--type <type>", 'only of this type, such as "job.*" or "execution.failed"')
    .option("--job <id>", "only about this job, of whichever context")
    .addOption(
      new Option("--since-sequence <n>", "from this sequence of each stream on")
        .argParser(wholeNumber(1, 1e15))
        .conflicts("all"),
    )
    .option("--all", "from the first one that is kept")
    .action(tail);
  addRebuildCommand(events);
  const letters = events.command("dead-letters").description("Facts that could not be handled.");
  withCommon(letters.command("list"))
    .description("List dead letters, oldest first.")
    .addOption(limitOption())
    .action(listDeadLetters);
  withCommon(letters.command("replay"))
    .description("Handle dead letters again.")
    .argument("[dead-letter-id...]")
    .option("--all", "the oldest 1,000")
    .action(replay);
}
