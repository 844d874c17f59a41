/** The providers a new platform begins with, so that the first job needs no set-up. One that is there is left as it is. */
import { availableParallelism } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { type Capstan, connect } from "@capstan/client";
import { DomainError } from "@capstan/errors";

const firstProbeMs = 5_000;

/**
 * Registers `local` for processes and `docker` for containers; whether an engine answers is found out by its probes. Waits for
 * the first probe of `local`, so that a job submitted right away is placed right away.
 */
export async function registerDefaultProviders(grpcAddress: string): Promise<void> {
  const capstan = connect({ address: grpcAddress });
  // Most short jobs wait for something: a slot is a promise about the platform's own work, not about a core.
  const slots = 32 * availableParallelism();
  try {
    for (const [name, kind] of [
      ["local", "PROVIDER_KIND_PROCESS"],
      ["docker", "PROVIDER_KIND_DOCKER"],
    ] as const) {
      try {
        await capstan.providers.registerProvider({
          name,
          kind,
          capacity: { slots, cpuMillis: 0, memoryMib: 0 },
          labels: {},
          endpoint: "",
        });
      } catch (error) {
        if (!(error instanceof DomainError && error.code === "ALREADY_EXISTS")) throw error;
      }
    }
    const limit = performance.now() + firstProbeMs;
    while ((await healthOf(capstan, "local")) === "PROVIDER_HEALTH_UNKNOWN" && performance.now() < limit)
      await delay(50);
  } finally {
    capstan.close();
  }
}

async function healthOf(capstan: Capstan, name: string): Promise<string | undefined> {
  const { provider } = await capstan.providers.getProvider({ provider: name });
  return provider?.health;
}
