/** `capstan events rebuild`: shows that the streams are only a transport, or makes them anew when they are past mending. */
import { connectRebuild, type Progress } from "@capstan/doctor";
import { type Command, Option } from "commander";
import { ExitError, exitCodes, UnreachableError, UsageError } from "./failure.ts";
import { durationMs, withOutput } from "./options.ts";
import { note, type OutputFormat, print } from "./output.ts";

interface RebuildOptions {
  readonly output: OutputFormat;
  readonly yes?: true;
  readonly databaseUrl?: string;
  readonly natsUrl: string;
  readonly timeout: number;
}

async function rebuild({ output, yes, databaseUrl = "", natsUrl, timeout }: RebuildOptions): Promise<void> {
  if (databaseUrl === "" || !URL.canParse(databaseUrl))
    throw new UsageError("give --database-url, or set CAPSTAN_DATABASE_URL");
  if (yes !== true) {
    throw new UsageError("this deletes the streams of all contexts; say --yes", [
      "the services make them anew and publish what the logs of the last 7 days hold; listeners of yours get it again",
    ]);
  }
  const platform = await connectRebuild(databaseUrl, natsUrl).catch((error: Error) => {
    throw new UnreachableError(`cannot reach the database or NATS: ${error.message}`, { cause: error });
  });
  try {
    const begunMs = performance.now();
    const streams = await platform.deleteStreams();
    note(`deleted ${streams} streams`);
    let told = -1;
    const onProgress = ({ facts, published }: Progress) => {
      if (published === told) return;
      told = published;
      note(`${published} of ${facts} facts are back`);
    };
    const done = await platform.follow({ onProgress, timeoutMs: timeout });
    if (done === null) {
      note("not all facts are back: do the services run? capstan system health");
      throw new ExitError(exitCodes.unsuccessful);
    }
    const seconds = (performance.now() - begunMs) / 1_000;
    const result = { streams, facts: done.published, seconds: Math.round(seconds * 10) / 10 };
    const rate = done.published === 0 ? "" : `, ${((seconds / done.published) * 10_000).toFixed(1)} s for each 10,000`;
    await print(output, result, () => `${done.published} facts are back after ${seconds.toFixed(1)} s${rate}\n`);
  } finally {
    await platform.close();
  }
}

/** Adds `rebuild` to `capstan events`. */
export function addRebuildCommand(events: Command): void {
  withOutput(events.command("rebuild"))
    .description(
      "Delete the streams, and watch how the services fill them again from Postgres. Loses nothing; the services must run.",
    )
    .option("--yes", "delete the streams")
    .addOption(new Option("--database-url <url>", "a role that may read all schemas").env("CAPSTAN_DATABASE_URL"))
    .addOption(
      new Option("--nats-url <url>", "where NATS listens").env("CAPSTAN_NATS_URL").default("nats://127.0.0.1:7122"),
    )
    .addOption(
      new Option("--timeout <duration>", "how long to wait for all facts")
        .argParser(durationMs)
        .default(600_000, "10m"),
    )
    .action(rebuild);
}
