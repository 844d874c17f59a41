/**
 * Server reflection, so that grpcurl and its like need no .proto files. It reads the contracts from the source tree when the
 * server starts, because the generated code carries no descriptors.
 */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Server } from "@grpc/grpc-js";

/** Adds the service; only the services named are listed. */
export async function addReflectionService(server: Server, serviceNames: readonly string[]): Promise<void> {
  const { ReflectionService } = await import("@grpc/reflection");
  const { loadSync } = await import("@grpc/proto-loader");
  const root = fileURLToPath(new URL("../../../", import.meta.resolve("@capstan/proto/google/rpc/status.ts")));
  const files = readdirSync(`${root}/capstan`, { recursive: true, encoding: "utf8" });
  const contracts = files.filter((file) => file.endsWith(".proto")).map((file) => `capstan/${file}`);
  const descriptors = loadSync(contracts, { includeDirs: [root], keepCase: true });
  new ReflectionService(descriptors, { services: [...serviceNames] }).addToServer(server);
}
