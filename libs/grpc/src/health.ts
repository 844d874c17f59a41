/**
 * The standard service grpc.health.v1.Health, for load balancers and probes. Every check asks the process itself, so nothing is
 * asked while nobody checks; all services of a process are healthy or not together. The empty name is the server as a whole.
 */
import { setTimeout as delay } from "node:timers/promises";
import { notFound } from "@capstan/errors";
import { serverStream, unary } from "./handlers.ts";
import type { ServiceRegistration } from "./registration.ts";

interface HealthCheckRequest {
  readonly service: string;
}

interface HealthCheckResponse {
  readonly status: "SERVING" | "NOT_SERVING" | "SERVICE_UNKNOWN";
}

const watchIntervalMs = 5_000;

/** The health of the services named. */
export async function createHealthService(
  serviceNames: readonly string[],
  isHealthy: () => Promise<boolean> | boolean,
): Promise<ServiceRegistration> {
  // Here and not above, because it parses a .proto when it is loaded, which clients and tools need not pay for.
  const { service: definition } = await import("grpc-health-check");
  const known = ["", ...serviceNames];

  async function ask(service: string): Promise<HealthCheckResponse> {
    if (!known.includes(service)) return { status: "SERVICE_UNKNOWN" };
    return { status: (await isHealthy()) ? "SERVING" : "NOT_SERVING" };
  }

  const Check = unary(async ({ service }: HealthCheckRequest) => {
    const answer = await ask(service);
    if (answer.status === "SERVICE_UNKNOWN") throw notFound("service", service);
    return answer;
  });

  const List = unary(async () => {
    const overall = await ask("");
    return { statuses: Object.fromEntries(known.map((name) => [name, overall])) };
  });

  const Watch = serverStream(async function* ({ service }: HealthCheckRequest, call) {
    for (let last = ""; !call.signal.aborted; await delay(watchIntervalMs, undefined, { signal: call.signal })) {
      const answer = await ask(service);
      if (answer.status !== last) yield answer;
      last = answer.status;
    }
  });

  return { definition, implementation: { Check, List, Watch } };
}
