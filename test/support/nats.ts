/** A nats-server for one spec file: stream names are fixed per context, so that two files on one server would meet. */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedNats } from "../../services/standalone/src/embeddedNats.ts";
import type { EmbeddedServer } from "../../services/standalone/src/embeddedServer.ts";
import { findFreePort } from "./freePort.ts";

export interface TestNats {
  readonly url: string;
  readonly port: number;
  /** As a crash would: kill -9; what it stored stays. */
  kill(): Promise<void>;
  /** Starts it again on its port after `kill` or `stop`. */
  restart(): Promise<void>;
  /** Ends it and forgets all it stored; `restart` then begins with nothing. */
  wipe(): Promise<void>;
  /** While it is down: keeps the messages of a stream as they are, and gives back how to put them back, as a power cut would lose a tail. */
  keepMessages(stream: string): Promise<() => Promise<void>>;
  stop(): Promise<void>;
  /** Stops it and removes its directory; for `afterAll`. */
  release(): Promise<void>;
}

/** Starts in some 30 ms. */
export async function startTestNats(): Promise<TestNats> {
  const directory = await mkdtemp(join(tmpdir(), "capstan-nats-"));
  let server: EmbeddedServer = await startEmbeddedNats({ directory, port: await findFreePort() });
  const { url, port } = server;
  return {
    url,
    port,
    kill: async () => {
      process.kill(server.pid, "SIGKILL");
      await server.stop();
    },
    restart: async () => {
      server = await startEmbeddedNats({ directory, port });
    },
    wipe: async () => {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
    async keepMessages(stream) {
      const messages = join(directory, "store", "jetstream", "$G", "streams", stream, "msgs");
      const kept = await mkdtemp(join(tmpdir(), "capstan-messages-"));
      await cp(messages, kept, { recursive: true });
      return async () => {
        await rm(messages, { recursive: true, force: true });
        await cp(kept, messages, { recursive: true });
        await rm(kept, { recursive: true, force: true });
      };
    },
    stop: () => server.stop(),
    release: async () => {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
