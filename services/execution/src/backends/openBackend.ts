/** Opens the backend a provider's kind asks for. */

import { failpoints } from "@capstan/failpoints";
import type { Workers } from "../workers.ts";
import type { AnyEnd, Backend } from "./backend.ts";
import { openDockerBackend } from "./docker.ts";
import { failingBackend } from "./failingBackend.ts";
import { openProcessBackend } from "./process.ts";
import { openWorkerBackend } from "./worker.ts";

type BackendKind = "PROCESS" | "DOCKER" | "WORKER";

interface BackendConfig {
  /** Where its engine listens; "" is the kind's default. Processes have none. */
  readonly endpoint: string;
  /** Names this installation on engines it shares with others. */
  readonly installation: string;
  /** For the working directories of processes. */
  readonly workDirectory: string;
  /** Those that are connected to this runner. */
  readonly workers: Workers;
  readonly log: { warn(fields: object, message: string): void };
}

export async function openBackend(kind: BackendKind, config: BackendConfig): Promise<Backend<AnyEnd>> {
  const backend = await open(kind, config);
  return failpoints === null ? backend : failingBackend(failpoints, kind, backend);
}

async function open(kind: BackendKind, config: BackendConfig): Promise<Backend<AnyEnd>> {
  switch (kind) {
    case "PROCESS":
      return openProcessBackend({ directory: config.workDirectory, path: null, contain: true, log: config.log });
    case "DOCKER":
      return openDockerBackend({ address: config.endpoint, installation: config.installation });
    case "WORKER":
      return openWorkerBackend(config.workers);
  }
}
