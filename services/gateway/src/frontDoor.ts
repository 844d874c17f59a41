/**
 * The one gRPC address for clients: the public services of all contexts, each call passed on as it comes. In standalone there is no
 * need of it.
 */
import { proxyService } from "@capstan/grpc";
import type { App } from "@capstan/service";
import type { Contracts } from "./contracts.ts";
import type { ContextName, Upstreams } from "./upstreams.ts";

export function openFrontDoor(app: App, { services }: Contracts, { contexts }: Upstreams): void {
  for (const { typeName, methods } of services) {
    // What belongs to no context is answered here.
    const target = contexts[(typeName.split(".")[1] ?? "") as ContextName];
    if (target === undefined) continue;
    const proxied = methods.map(({ name, methodKind }) => ({
      name,
      requestStream: methodKind === "bidi_streaming" || methodKind === "client_streaming",
      responseStream: methodKind === "bidi_streaming" || methodKind === "server_streaming",
    }));
    const { definition, implementation } = proxyService(typeName, proxied, target);
    app.addService(definition, implementation);
  }
}
