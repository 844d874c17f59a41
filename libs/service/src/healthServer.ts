/**
 * The HTTP side door of a process: /healthz says that it lives, /readyz whether it can do its work and if not what is missing,
 * /metrics gives its figures to Prometheus. It opens before anything else and closes last.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { addressInUse } from "@capstan/grpc";
import { splitAddress, withPort } from "./address.ts";
import type { RunningApp } from "./app.ts";
import { startMetrics } from "./metrics.ts";
import { createReady } from "./ready.ts";

interface HealthServer {
  /** host:port, with the true port also when 0 was asked for. */
  readonly address: string;
  stop(): Promise<void>;
}

/**
 * Opens it for all the apps of a process. Instruments made before it opens are not seen in /metrics. Refuses with
 * ADDRESS_IN_USE when another process listens there.
 */
export async function openHealth(apps: readonly RunningApp[], address: string): Promise<HealthServer> {
  const writeMetrics = startMetrics(apps[0]?.name ?? "capstan");
  const askReady = createReady(apps);
  const server = createServer({ requestTimeout: 5_000, headersTimeout: 5_000, keepAliveTimeout: 5_000 });
  server.on("request", (request, response) => {
    answer(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split("?")[0];
    if (request.method !== "GET" && request.method !== "HEAD") return void response.writeHead(405).end();
    if (path === "/metrics") return writeMetrics(request, response);
    if (path === "/healthz") return writeJson(response, 200, { ok: true });
    if (path !== "/readyz") return void response.writeHead(404).end();
    const ready = await askReady();
    writeJson(response, ready.ready ? 200 : 503, ready);
  }

  await listen(server, address);
  const bound = server.address() as AddressInfo;
  return { address: withPort(address, bound.port), stop: () => close(server) };
}

function writeJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(`${JSON.stringify(body)}\n`);
}

function listen(server: Server, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(error.code === "EADDRINUSE" ? addressInUse(address) : error);
    });
    server.listen(splitAddress(address), () => resolve());
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
