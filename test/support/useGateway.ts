/** A gateway in front of a test platform, as a process of its own. */
import { afterAll, beforeAll } from "vitest";
import { findFreePort } from "./freePort.ts";
import { createServiceProcess, type ServiceProcess } from "./serviceProcess.ts";
import type { Platform } from "./startPlatform.ts";

export interface Gateway {
  readonly process: ServiceProcess;
  /** Of its HTTP, without a slash at the end. */
  readonly url: string;
}

/** Call it after `usePlatform`; it starts when the platform has and ends before. `env` goes before what it is given otherwise. */
export function useGateway(platform: () => Platform, env: NodeJS.ProcessEnv = {}): () => Gateway {
  let gateway: Gateway | null = null;
  beforeAll(async () => {
    const { database, nats, services } = platform();
    const [grpc, health, http] = [await findFreePort(), await findFreePort(), await findFreePort()];
    const process = createServiceProcess({
      name: "gateway",
      grpcAddress: `127.0.0.1:${grpc}`,
      healthAddress: `127.0.0.1:${health}`,
      env: {
        PATH: globalThis.process.env["PATH"],
        CAPSTAN_DATABASE_URL: database.urlOf("gateway"),
        CAPSTAN_NATS_URL: nats.url,
        CAPSTAN_HTTP_ADDRESS: `127.0.0.1:${http}`,
        CAPSTAN_JOB_ADDRESS: services.job.grpcAddress,
        CAPSTAN_PROVIDER_ADDRESS: services.provider.grpcAddress,
        CAPSTAN_EXECUTION_ADDRESS: services.execution.grpcAddress,
        CAPSTAN_ORCHESTRATOR_ADDRESS: services.orchestrator.grpcAddress,
        ...env,
      },
    });
    gateway = { process, url: `http://127.0.0.1:${http}` };
    await process.start();
  });
  afterAll(async () => {
    const end = await gateway?.process.kill("SIGTERM");
    if (end !== 0 && end !== "SIGKILL") throw new Error(`the gateway ended with ${end} when it was told to stop`);
  });
  return () => {
    if (gateway === null) throw new Error("the gateway is there only inside of tests");
    return gateway;
  };
}
