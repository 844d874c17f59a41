/** A gateway in front of a test platform, as a process of its own. */
import { afterAll, beforeAll } from "vitest";
import { bareEnv } from "./bareEnv.ts";
import { findFreePort } from "./freePort.ts";
import { createServiceProcess, type ServiceProcess } from "./serviceProcess.ts";
import type { Platform } from "./startPlatform.ts";

export interface Gateway {
  readonly process: ServiceProcess;
  /** Of its HTTP, without a slash at the end. */
  readonly url: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** The body as JSON, whatever its shape; null if it has none. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as a client in any language would.
  readonly json: any;
}

export interface HttpAsk {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
}

/** One request to `/api/v1<path>`; with a body it is a POST unless told otherwise. */
export async function askApi(
  { url }: Gateway,
  path: string,
  { method, headers, body }: HttpAsk = {},
): Promise<HttpAnswer> {
  const answer = await fetch(`${url}/api/v1${path}`, {
    method: method ?? (body === undefined ? "GET" : "POST"),
    headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, json: text === "" ? null : JSON.parse(text) };
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
        ...bareEnv,
        CAPSTAN_DATABASE_URL: database.urlOf("gateway"),
        CAPSTAN_NATS_URL: nats.url,
        CAPSTAN_HTTP_ADDRESS: `127.0.0.1:${http}`,
        CAPSTAN_HTTP_CHECK_ANSWERS: "true",
        CAPSTAN_GRPC_REFLECTION: "true",
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
