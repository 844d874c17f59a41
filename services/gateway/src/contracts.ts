/**
 * The public RPCs as the contracts describe them: read from the generated descriptors, with the path of each over HTTP from its
 * `google.api.http` annotation (https://google.aip.dev/127). Everything else here follows from this list; no RPC is written by hand.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  createFileRegistry,
  type DescMethod,
  type DescService,
  type FileRegistry,
  fromBinary,
  getOption,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { type PathTemplate, parseTemplate } from "./pathTemplate.ts";

export type HttpMethod = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** One way to call an RPC over HTTP. */
export interface Binding {
  readonly rpc: Rpc;
  readonly method: HttpMethod;
  readonly template: PathTemplate;
  /** With a body, all fields that are not in the path are in it; without, they are query parameters. */
  readonly hasBody: boolean;
}

export interface Rpc {
  readonly desc: DescMethod;
  /** As gRPC calls it: `/capstan.job.v1.JobService/GetJob`. */
  readonly path: string;
  /** The context that answers it: "job", "provider", … "gateway" for the gateway itself. */
  readonly context: string;
  /** The first is the one to use; empty for streams both ways, which HTTP/1.1 cannot carry. */
  readonly bindings: readonly Binding[];
}

export interface Contracts {
  readonly registry: FileRegistry;
  /** The services for users and operators, in the order of their names. */
  readonly services: readonly DescService[];
  readonly rpcs: readonly Rpc[];
  readonly bindings: readonly Binding[];
}

/** Reads them; takes some 10 ms. */
export function readContracts(): Contracts {
  const bytes = readFileSync(generated("descriptors.binpb"));
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
  const services = [...registry]
    .filter((desc) => desc.kind === "service")
    .filter(({ typeName }) => typeName.startsWith("capstan.") && !typeName.endsWith("InternalService"))
    .sort((a, b) => (a.typeName < b.typeName ? -1 : 1));
  const rpcs = services.flatMap(({ methods }) => methods.map((method) => describeRpc(method, registry)));
  return { registry, services, rpcs, bindings: rpcs.flatMap(({ bindings }) => bindings) };
}

/** What the contracts say of each element, by its full name. Read anew each time: it is asked for once, and large. */
export function readComments(): Readonly<Record<string, string>> {
  return JSON.parse(readFileSync(generated("comments.json"), "utf8")) as Record<string, string>;
}

function generated(name: string): string {
  return fileURLToPath(import.meta.resolve(`@capstan/proto/${name}`));
}

/** As google/api/http.proto has it. */
interface HttpRule {
  readonly pattern: { readonly case: Lowercase<HttpMethod>; readonly value: string };
  readonly body: string;
  readonly additionalBindings: readonly HttpRule[];
}

function describeRpc(desc: DescMethod, registry: FileRegistry): Rpc {
  const http = registry.getExtension("google.api.http");
  if (http === undefined) throw new Error("the descriptors lack google.api.http");
  const bindings: Binding[] = [];
  const rpc: Rpc = {
    desc,
    path: `/${desc.parent.typeName}/${desc.name}`,
    context: desc.parent.typeName.split(".")[1] ?? "",
    bindings,
  };
  const rule = getOption(desc, http) as unknown as HttpRule;
  for (const { pattern, body } of rule.pattern.case === undefined ? [] : [rule, ...rule.additionalBindings]) {
    if (body !== "" && body !== "*") throw new Error(`${rpc.path}: a body is all of the message or none of it`);
    const method = pattern.case.toUpperCase() as HttpMethod;
    bindings.push({ rpc, method, template: parseTemplate(pattern.value), hasBody: body === "*" });
  }
  return rpc;
}
