/** `capstan saga …`: the path of each attempt, and the way out for one that is parked. */
import type { Capstan } from "@capstan/client";
import { Saga } from "@capstan/proto/capstan/orchestrator/v1/saga.ts";
import type { Command } from "commander";
import { formatAge } from "./durations.ts";
import { enumCell, enumWord } from "./enumWord.ts";
import { buildFilter } from "./filter.ts";
import { type CommonOptions, collect, limitOption, withCommon } from "./options.ts";
import { type OutputFormat, print, terminalWidth } from "./output.ts";
import { firstItems } from "./pages.ts";
import { present, whoAmI, withCapstan } from "./session.ts";
import { formatDetails, formatTable } from "./table.ts";

function formatSagas(sagas: readonly Saga[], now: Date): string {
  return formatTable(
    sagas,
    [
      { title: "ID", cell: ({ id }) => id },
      { title: "JOB", cell: ({ jobId }) => jobId },
      { title: "STEP", cell: ({ step }) => step },
      { title: "ATTEMPT", cell: ({ attempt }) => String(attempt) },
      { title: "STAGE", cell: ({ stage }) => enumCell(stage) },
      { title: "SINCE", cell: ({ stageTime }) => formatAge(now.getTime() - (stageTime ?? now).getTime()) },
      { title: "PROVIDER", cell: ({ providerName }) => providerName },
      { title: "REASON", cell: ({ reason, message }) => [enumWord(reason), message].filter(Boolean).join(": ") },
    ],
    terminalWidth(),
  );
}

function formatSaga(saga: Saga): string {
  return formatDetails([
    ["Id, also of its execution", saga.id],
    ["Job", saga.jobId],
    ["Step", saga.step],
    ["Attempt", String(saga.attempt)],
    ["Stage", enumCell(saga.stage)],
    ["Reason", [enumWord(saga.reason), saga.message].filter(Boolean).join(": ")],
    ["Since", saga.stageTime?.toISOString() ?? ""],
    ["Looked at again", saga.wakeupTime?.toISOString() ?? ""],
    ["Provider", saga.providerName],
    ["Failed tries", String(saga.failures)],
    ["Created", saga.createTime?.toISOString() ?? ""],
  ]);
}

async function printSaga(output: OutputFormat, answer: { readonly saga: Saga | undefined }): Promise<void> {
  const saga = present(answer.saga);
  await print(output, Saga.toJSON(saga), () => formatSaga(saga));
}

interface ListOptions extends CommonOptions {
  readonly filter?: string;
  readonly job?: string;
  readonly stage?: readonly string[];
  readonly limit: number;
}

async function listSagas({ filter, job, stage = [], limit, output, ...options }: ListOptions): Promise<void> {
  const anyOf = { job_id: job === undefined ? [] : [job], stage: stage.map((name) => enumWord(name.toUpperCase())) };
  const wanted = buildFilter({ filter, anyOf });
  await withCapstan(options, async (capstan) => {
    const found = await firstItems(limit, async (page) => {
      const { sagas, nextPageToken } = await capstan.sagas.listSagas({ ...page, filter: wanted });
      return { items: sagas, nextPageToken };
    });
    await print(
      output,
      found.map((saga) => Saga.toJSON(saga)),
      () => formatSagas(found, new Date()),
    );
  });
}

interface Act {
  readonly sagaId: string;
  readonly actor: string;
  readonly note: string;
}

type Call = (sagas: Capstan["sagas"], act: Act) => Promise<{ saga: Saga | undefined }>;

/** What an operator may do to one saga; it is printed as it is afterwards. */
const verbs: Readonly<Record<string, { readonly description: string; readonly call: Call }>> = {
  retry: {
    description: "Try a parked saga again from where it was.",
    call: (sagas, act) => sagas.retrySaga(act),
  },
  skip: {
    description: "Undo a parked saga and report its step as skipped.",
    call: (sagas, act) => sagas.skipSaga(act),
  },
  compensate: {
    description: "Undo a parked saga and report its attempt as failed.",
    call: (sagas, act) => sagas.compensateSaga(act),
  },
  force: {
    description:
      "Settle a saga without waiting for its execution, which may run on: for a provider that will never answer again.",
    call: (sagas, act) => sagas.forceSaga(act),
  },
};

/** Adds the commands to `capstan saga`. */
export function addSagaCommands(saga: Command): void {
  withCommon(saga.command("list"))
    .description("List sagas, newest first.")
    .option("--filter <filter>", "AIP-160, such as: stage = PARKED")
    .option("--job <id>", "only of this job")
    .option("--stage <stage>", "only in this stage; may be repeated", collect)
    .addOption(limitOption())
    .action(listSagas);
  withCommon(saga.command("get"))
    .description("Show one saga.")
    .argument("<saga-id>")
    .action((sagaId: string, options: CommonOptions) =>
      withCapstan(options, async ({ sagas }) => printSaga(options.output, await sagas.getSaga({ sagaId }))),
    );
  for (const [name, { description, call }] of Object.entries(verbs)) {
    const command = withCommon(saga.command(name))
      .description(description)
      .argument("<saga-id>")
      .option("--actor <name>", "who acts, for the fact that tells of it", whoAmI());
    const note = ["--note <text>", "why, for the fact that tells of it"] as const;
    (name === "force" ? command.requiredOption(...note) : command.option(...note, "")).action(
      (sagaId: string, { actor, note, ...options }: CommonOptions & Omit<Act, "sagaId">) =>
        withCapstan(options, async ({ sagas }) =>
          printSaga(options.output, await call(sagas, { sagaId, actor, note })),
        ),
    );
  }
}
