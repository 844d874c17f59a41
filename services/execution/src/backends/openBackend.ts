/** Opens the backend a provider's kind asks for. */

import type { Backend } from "./backend.ts";
import { openDockerBackend } from "./docker.ts";
import { openProcessBackend } from "./process.ts";

export type BackendKind = "PROCESS" | "DOCKER";

export interface BackendConfig {
  /** Where its engine listens; "" is the kind's default. Processes have none. */
  readonly endpoint: string;
  /** Names this installation on engines it shares with others. */
  readonly installation: string;
  /** For the working directories of processes. */
  readonly workDirectory: string;
  readonly log: { warn(fields: object, message: string): void };
}

export async function openBackend(kind: BackendKind, config: BackendConfig): Promise<Backend> {
  switch (kind) {
    case "PROCESS":
      return openProcessBackend({ directory: config.workDirectory, path: null, contain: true, log: config.log });
    case "DOCKER":
      return openDockerBackend({ address: config.endpoint, installation: config.installation });
  }
}
