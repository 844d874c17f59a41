/** The one gRPC server of a process, with the services of all its apps. */
import { type GrpcServer, type ServiceRegistration, serve, unary } from "@capstan/grpc";
import type { Readiness } from "@capstan/proto/capstan/system/v1/readiness.ts";
import { type SystemServiceServer, SystemServiceService } from "@capstan/proto/capstan/system/v1/system_service.ts";
import { withPort } from "./address.ts";
import type { AppHealth, RunningApp } from "./app.ts";
import type { BaseConfig } from "./config.ts";
import type { Logger } from "./log.ts";
import { createReady, type Ready } from "./ready.ts";

/**
 * Opens it; healthy while all apps are ready. Open it last: an app that registers a service afterwards is not served. The address
 * given back has the true port also when 0 was asked for.
 */
export async function openGrpc(
  apps: readonly RunningApp[],
  config: Pick<BaseConfig, "CAPSTAN_GRPC_ADDRESS" | "CAPSTAN_GRPC_REFLECTION">,
  log: Logger,
): Promise<Pick<GrpcServer, "stop"> & { readonly address: string }> {
  const address = config.CAPSTAN_GRPC_ADDRESS;
  const askReady = createReady(apps);
  const server = await serve({
    address,
    services: [...apps.flatMap(({ services }) => services), systemService(apps, askReady)],
    health: async () => (await askReady()).ready,
    reflection: config.CAPSTAN_GRPC_REFLECTION,
    log,
  });
  return { address: withPort(address, server.port), stop: server.stop };
}

/** One for all the apps of the process: each by itself would be registered under the same name. */
function systemService(apps: readonly RunningApp[], askReady: () => Promise<Ready>): ServiceRegistration {
  const implementation: SystemServiceServer = {
    listCheckups: unary(async () => ({
      checkups: apps.flatMap((app) => app.checkups()).sort((a, b) => (a.service < b.service ? -1 : 1)),
    })),
    listReadiness: unary(async () => {
      const { services } = await askReady();
      return { services: services.map(toReadiness).sort((a, b) => (a.service < b.service ? -1 : 1)) };
    }),
  };
  return { definition: SystemServiceService, implementation };
}

function toReadiness({ service, ready, dependencies, loops }: AppHealth): Readiness {
  const nowMs = Date.now();
  return {
    service,
    ready,
    dependencies: dependencies.map(({ name, ok, durationMs }) => ({ name, ok, durationMs })),
    loops: loops.map(({ name, ok, lastPassMs }) => ({ name, ok, lastPassTime: new Date(nowMs - lastPassMs) })),
  };
}
