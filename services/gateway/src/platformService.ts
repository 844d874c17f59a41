/** How the platform is, as the gateway sees it: it asks every part at the moment somebody asks. */
import { readFileSync } from "node:fs";
import { unary } from "@capstan/grpc";
import type {
  HealthState,
  PartHealth,
  PlatformServiceServer,
  RequestLimits,
} from "@capstan/proto/capstan/gateway/v1/platform_service.ts";
import { readFigures } from "@capstan/service";
import type { Contracts } from "./contracts.ts";
import type { Upstreams } from "./upstreams.ts";

export interface PlatformOptions {
  readonly contracts: Contracts;
  readonly upstreams: Upstreams;
  /** What the gateway itself depends on: each throws while it is down. */
  readonly checks: Readonly<Record<string, () => Promise<unknown>>>;
  readonly limits: RequestLimits;
}

const waitMs = 2_000;

/** Of Capstan, whose services are all released together. */
export const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};

export function createPlatformService({
  contracts,
  upstreams,
  checks,
  limits,
}: PlatformOptions): PlatformServiceServer {
  const startTime = new Date(performance.timeOrigin);
  const contexts = Object.entries(upstreams.contexts).map(
    ([name, client]) => [name, () => client.isServing(waitMs)] as const,
  );
  const parts = [...contexts, ...Object.entries(checks)];

  return {
    getHealth: unary(async () => {
      const found = await Promise.all(parts.map(([name, check]) => look(name, check)));
      return { state: overall(found), parts: found.sort((a, b) => (a.name < b.name ? -1 : 1)) };
    }),

    getInfo: unary(async () => ({
      version,
      apiVersion: "v1",
      nodeVersion: process.version,
      startTime,
      limits,
      services: contracts.services.map(({ typeName }) => typeName),
    })),

    getMetrics: unary(async ({ prefix }) => {
      const figures = (await readFigures()).filter(({ name }) => name.startsWith(prefix));
      const metrics = figures.map((figure) => ({
        ...figure,
        points: figure.points.map(({ labels, value, count }) => ({ labels: { ...labels }, value, count })),
      }));
      return { metrics: metrics.sort((a, b) => (a.name < b.name ? -1 : 1)) };
    }),
  };
}

async function look(name: string, check: () => Promise<unknown>): Promise<PartHealth> {
  const startMs = performance.now();
  const end = (state: HealthState, reason: string) => ({
    name,
    state,
    reason,
    durationMs: Math.round(performance.now() - startMs),
  });
  const late = Promise.withResolvers<false>();
  const timer = setTimeout(() => late.resolve(false), waitMs);
  try {
    const answer = await Promise.race([check(), late.promise]);
    return answer === false ? end("HEALTH_STATE_DOWN", "NOT_SERVING") : end("HEALTH_STATE_HEALTHY", "");
  } catch {
    return end("HEALTH_STATE_DOWN", "UNAVAILABLE");
  } finally {
    clearTimeout(timer);
  }
}

function overall(parts: readonly PartHealth[]): HealthState {
  const healthy = parts.filter(({ state }) => state === "HEALTH_STATE_HEALTHY").length;
  if (healthy === parts.length) return "HEALTH_STATE_HEALTHY";
  return healthy === 0 ? "HEALTH_STATE_DOWN" : "HEALTH_STATE_DEGRADED";
}
