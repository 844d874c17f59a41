/** `capstan execution …`: the attempts of steps, each on one provider, and their output. */
import { Execution, type ExecutionProgress } from "@capstan/proto/capstan/execution/v1/execution.ts";
import type { Command } from "commander";
import { formatAge, formatSpan } from "./durations.ts";
import { enumCell, enumWord } from "./enumWord.ts";
import { printLog } from "./executionLog.ts";
import { buildFilter } from "./filter.ts";
import {
  type CommonOptions,
  type ConnectionOptions,
  collect,
  limitOption,
  withAddress,
  withCommon,
} from "./options.ts";
import { print, terminalWidth } from "./output.ts";
import { firstItems } from "./pages.ts";
import { formatBytes } from "./quantities.ts";
import { present, withCapstan } from "./session.ts";
import { formatDetails, formatTable } from "./table.ts";

interface ListOptions extends CommonOptions {
  readonly filter?: string;
  readonly job?: string;
  readonly state?: readonly string[];
  readonly limit: number;
}

function formatExecutions(executions: readonly Execution[], now: Date): string {
  const spanOf = ({ startTime, endTime = now }: Execution) =>
    startTime === undefined ? "" : formatSpan(endTime.getTime() - startTime.getTime());
  return formatTable(
    executions,
    [
      { title: "ID", cell: ({ id }) => id },
      { title: "JOB", cell: ({ jobId }) => jobId },
      { title: "STEP", cell: ({ step }) => step },
      { title: "ATTEMPT", cell: ({ attempt }) => String(attempt) },
      { title: "STATE", cell: ({ state }) => enumCell(state) },
      { title: "PROVIDER", cell: ({ providerName }) => providerName },
      { title: "AGE", cell: ({ createTime }) => formatAge(now.getTime() - (createTime ?? now).getTime()) },
      { title: "TOOK", cell: spanOf },
      { title: "REASON", cell: ({ reason, message }) => [enumWord(reason), message].filter(Boolean).join(": ") },
    ],
    terminalWidth(),
  );
}

/** `43 %: third page`; "" when it never said. */
export function formatProgress(progress: ExecutionProgress | undefined): string {
  const { fraction, message = "" } = progress ?? {};
  const share = fraction === undefined ? "" : `${Math.round(fraction * 100)} %`;
  return [share, message].filter(Boolean).join(": ");
}

function formatExecution(execution: Execution): string {
  const { log } = execution;
  return formatDetails([
    ["Id", execution.id],
    ["Job", execution.jobId],
    ["Step", execution.step],
    ["Attempt", String(execution.attempt)],
    ["State", enumCell(execution.state)],
    ["Reason", [enumWord(execution.reason), execution.message].filter(Boolean).join(": ")],
    ["Progress", formatProgress(execution.progress)],
    ["Exit code", execution.exitCode === undefined ? "" : String(execution.exitCode)],
    ["Signal", execution.signal],
    ["Provider", execution.providerName],
    ["Known there as", execution.externalRef],
    ["Created", execution.createTime?.toISOString() ?? ""],
    ["Started", execution.startTime?.toISOString() ?? ""],
    ["Ended", execution.endTime?.toISOString() ?? ""],
    ["Result", execution.result === undefined ? "" : JSON.stringify(execution.result)],
    ["Log", log === undefined ? "" : `${log.lines} lines, ${formatBytes(log.stdoutBytes + log.stderrBytes)}`],
    ["Log SHA-256", log?.sha256 ?? ""],
  ]);
}

async function listExecutions({ filter, job, state = [], limit, output, ...options }: ListOptions): Promise<void> {
  const anyOf = { job_id: job === undefined ? [] : [job], state: state.map((name) => enumWord(name.toUpperCase())) };
  const wanted = buildFilter({ filter, anyOf });
  await withCapstan(options, async (capstan) => {
    const found = await firstItems(limit, async (page) => {
      const { executions, nextPageToken } = await capstan.executions.listExecutions({ ...page, filter: wanted });
      return { items: executions, nextPageToken };
    });
    await print(
      output,
      found.map((execution) => Execution.toJSON(execution)),
      () => formatExecutions(found, new Date()),
    );
  });
}

async function getExecution(executionId: string, { output, ...options }: CommonOptions): Promise<void> {
  await withCapstan(options, async ({ executions }) => {
    const execution = present((await executions.getExecution({ executionId })).execution);
    await print(output, Execution.toJSON(execution), () => formatExecution(execution));
  });
}

function printExecutionLogs(
  executionId: string,
  options: ConnectionOptions & { readonly follow?: true },
): Promise<void> {
  return withCapstan(options, async (capstan) => {
    // Asked for first, because an execution that is not known must be refused and not have an empty log.
    await capstan.executions.getExecution({ executionId });
    await printLog(capstan, executionId, options.follow === true);
  });
}

/** Adds the commands to `capstan execution`. */
export function addExecutionCommands(execution: Command): void {
  withCommon(execution.command("list"))
    .description("List executions, newest first.")
    .option("--filter <filter>", 'AIP-160, such as: provider_name = "local" AND state = RUNNING')
    .option("--job <id>", "only of this job")
    .option("--state <state>", "only in this state; may be repeated", collect)
    .addOption(limitOption())
    .action(listExecutions);
  withCommon(execution.command("get"))
    .description("Show one execution.")
    .argument("<execution-id>")
    .action(getExecution);
  withAddress(execution.command("logs"))
    .description("Print the output of one execution, byte for byte.")
    .argument("<execution-id>")
    .option("-f, --follow", "stay until it has ended")
    .action(printExecutionLogs);
}
