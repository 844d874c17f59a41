/** `capstan worker …`: users' processes that are connected and run handlers. */
import { Worker } from "@capstan/proto/capstan/execution/v1/worker.ts";
import type { Command } from "commander";
import { buildFilter } from "./filter.ts";
import { type CommonOptions, limitOption, withCommon } from "./options.ts";
import { note, print, terminalWidth } from "./output.ts";
import { firstItems } from "./pages.ts";
import { withCapstan } from "./session.ts";
import { formatWorkers } from "./workerView.ts";

interface ListOptions extends CommonOptions {
  readonly filter?: string;
  readonly pool?: string;
  readonly limit: number;
}

async function listWorkers({ filter, pool, limit, output, ...options }: ListOptions): Promise<void> {
  const wanted = buildFilter({ filter, anyOf: { pool: pool === undefined ? [] : [pool] } });
  await withCapstan(options, async (capstan) => {
    const found = await firstItems(limit, async (page) => {
      const { workers, nextPageToken } = await capstan.workers.listWorkers({ ...page, filter: wanted });
      return { items: workers, nextPageToken };
    });
    await print(
      output,
      found.map((worker) => Worker.toJSON(worker)),
      () => formatWorkers(found, new Date(), terminalWidth()),
    );
    if (found.length === 0) note(wanted === "" ? "no worker is connected" : "no worker that is connected matches");
  });
}

/** Adds the commands to `capstan worker`. */
export function addWorkerCommands(worker: Command): void {
  withCommon(worker.command("list"))
    .description("List the workers that are connected, or were a moment ago, by pool.")
    .option(
      "--filter <filter>",
      'AIP-160 over pool, sdk, slots and create_time, such as: pool = "images" AND slots > 10',
    )
    .option("--pool <name>", "only of this pool")
    .addOption(limitOption())
    .addHelpText(
      "after",
      "\nA worker is a process of yours that connects with the SDK. What its pool holds: capstan provider get POOL",
    )
    .action(listWorkers);
}
