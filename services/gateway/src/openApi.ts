/**
 * The OpenAPI 3.1 document, made from the contracts: the same paths and schemas that serve and check requests, with the comments of the
 * contracts for descriptions. What is streamed, and by whom it is served, is in it too.
 */
import type { DescField } from "@bufbuild/protobuf";
import { etagPathOf } from "./answer.ts";
import type { Binding, Contracts } from "./contracts.ts";
import { createSchemas, type Schema, type Schemas } from "./jsonSchema.ts";
import { eventData, livePaths, liveTag, logData, streamParameters, streamResponses } from "./liveOperations.ts";
import { problemSchema, problemType } from "./problem.ts";
import { etagField, idempotencyField, queryFields } from "./readRequest.ts";

interface OpenApiOptions {
  readonly contracts: Contracts;
  readonly comments: Readonly<Record<string, string>>;
  readonly version: string;
  /** Of the server, without a slash at its end: what stands before `/api`. */
  readonly publicPath: string;
}

export type OpenApi = { readonly [key: string]: unknown };

export function writeOpenApi({ contracts, comments, version, publicPath }: OpenApiOptions): OpenApi {
  const describe = (fullName: string) => comments[fullName];
  const schemas = createSchemas(contracts.rpcs, { refPrefix: "#/components/schemas/", describe });
  const byPath = Map.groupBy(contracts.bindings, ({ template }) => jsonPath(template.text));
  const paths = [...byPath]
    .map(([path, bindings]): readonly [string, OpenApi] => [
      path,
      Object.fromEntries(
        bindings.map((binding) => [binding.method.toLowerCase(), writeOperation(binding, schemas, comments)]),
      ),
    ])
    .concat(Object.entries(livePaths(refused)))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    openapi: "3.1.0",
    info: {
      title: "Capstan",
      version,
      summary: "Jobs: submit them, watch them, and operate what runs them.",
      description: introduction,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: publicPath === "/" ? "/" : publicPath.slice(0, -1), description: "This gateway" }],
    // There are no identities yet: it listens on loopback unless told otherwise.
    security: [],
    tags: contracts.services
      .filter(({ methods }) => contracts.bindings.some(({ rpc }) => methods.includes(rpc.desc)))
      .map(({ name, typeName }) => ({ name: tagOf(name), description: comments[typeName] ?? name }))
      .concat(liveTag),
    paths: Object.fromEntries(paths),
    components: {
      schemas: { ...usedIn(paths, schemas.components), Problem: problemSchema },
      responses: { Problem: problemResponse },
      headers: responseHeaders,
    },
  };
}

/** The components that are referred to, directly or by others: bodies without the fields of their path stand in the paths themselves. */
function usedIn(paths: unknown, components: Readonly<Record<string, Schema>>): Readonly<Record<string, Schema>> {
  const used = new Set<string>();
  const visit = (part: unknown) => {
    for (const [, name = ""] of JSON.stringify(part).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      if (used.has(name)) continue;
      used.add(name);
      visit(components[name] ?? {});
    }
  };
  visit(paths);
  return Object.fromEntries(Object.entries(components).filter(([name]) => used.has(name)));
}

const introduction = `Every call of Capstan's gRPC services over HTTP, with JSON as proto3 maps it: names in camelCase, numbers of 64 bits as
text, durations such as \`"30s"\`, times as RFC 3339. An error is a problem (RFC 9457) whose \`reason\` is stable. Lists come in pages:
\`nextPageToken\` of one is \`pageToken\` of the next. A colon within a value in a path is sent as \`%3A\`.`;

/** `/api/v1/jobs/{job_id}` with the names that the JSON has. */
function jsonPath(text: string): string {
  return text.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function tagOf(service: string): string {
  return service.replace(/Service$/, "");
}

function writeOperation(binding: Binding, schemas: Schemas, comments: Readonly<Record<string, string>>): OpenApi {
  const { rpc, hasBody } = binding;
  const { desc } = rpc;
  const said = comments[`${desc.parent.typeName}.${desc.name}`] ?? desc.name;
  const isFirst = rpc.bindings[0] === binding;
  const isUnary = desc.methodKind === "unary";
  const summary = /^[\s\S]*?[.:](?=\s|$)/.exec(said)?.[0] ?? said;
  return {
    operationId: lowerFirst(desc.name) + (isFirst ? "" : "WithBody"),
    tags: [tagOf(desc.parent.name)],
    summary: summary.replaceAll(/\s+/g, " ").replace(/[.:]$/, ""),
    description: `${said}\n\ngRPC: \`${rpc.path.slice(1)}\``,
    parameters: [
      ...pathParameters(binding, schemas, comments),
      ...(isUnary
        ? [...queryParameters(binding, schemas, comments), ...headerParameters(binding)]
        : parametersOfStream(binding)),
    ],
    ...(hasBody && {
      requestBody: {
        required: desc.input.fields.length > pathFields(binding).length && desc.name.startsWith("Submit"),
        content: { "application/json": { schema: bodySchema(binding, schemas) } },
      },
    }),
    responses: {
      ...(isUnary
        ? { 200: unaryResponse(binding, schemas) }
        : streamResponses(desc.localName === "tailLogs" ? logData : eventData, true)),
      ...refused,
    },
  };
}

const refused = {
  "4XX": { $ref: "#/components/responses/Problem" },
  "5XX": { $ref: "#/components/responses/Problem" },
};

/** A stream takes more than its message has, and not all of that. */
function parametersOfStream({ rpc }: Binding): readonly OpenApi[] {
  const found = streamParameters(rpc.desc.localName);
  if (found === null) throw new Error(`nobody streams ${rpc.path} over HTTP`);
  return found;
}

function pathFields({ rpc, template }: Binding): readonly DescField[] {
  return template.segments.flatMap(({ variable }) => rpc.desc.input.fields.find(({ name }) => name === variable) ?? []);
}

function bodySchema(binding: Binding, schemas: Schemas): Schema {
  const inPath = pathFields(binding).map(({ name }) => name);
  const { input } = binding.rpc.desc;
  return inPath.length === 0 ? schemas.refTo(input) : schemas.without(input, inPath);
}

function parameter(
  place: "path" | "query",
  field: DescField,
  schemas: Schemas,
  comments: Readonly<Record<string, string>>,
) {
  return {
    name: field.jsonName,
    in: place,
    required: place === "path",
    description: comments[`${field.parent.typeName}.${field.name}`] ?? field.jsonName,
    schema: schemas.ofField(field),
  };
}

function pathParameters(
  binding: Binding,
  schemas: Schemas,
  comments: Readonly<Record<string, string>>,
): readonly OpenApi[] {
  return pathFields(binding).map((field) => parameter("path", field, schemas, comments));
}

function queryParameters(
  binding: Binding,
  schemas: Schemas,
  comments: Readonly<Record<string, string>>,
): readonly OpenApi[] {
  return binding.hasBody ? [] : queryFields(binding).map((field) => parameter("query", field, schemas, comments));
}

function header(name: string, description: string): OpenApi {
  return { name, in: "header", required: false, description, schema: { type: "string" } };
}

function headerParameters({ rpc, method }: Binding): readonly OpenApi[] {
  const { input, output } = rpc.desc;
  const key = method === "GET" ? undefined : idempotencyField(input);
  const etag = method === "GET" ? undefined : etagField(input);
  return [
    ...(key === undefined
      ? []
      : [header("Idempotency-Key", `Stands for \`${key.jsonName}\`: the call may be repeated with it.`)]),
    ...(etag === undefined ? [] : [header("If-Match", "The ETag that was read. 412 if it has changed since.")]),
    ...(method === "GET" && etagPathOf(output) !== null
      ? [header("If-None-Match", "An ETag. 304 if it has not changed since.")]
      : []),
  ];
}

const headerNames = ["X-Request-Id", "RateLimit", "RateLimit-Policy"];

function unaryResponse({ rpc }: Binding, schemas: Schemas): OpenApi {
  const names = etagPathOf(rpc.desc.output) === null ? headerNames : [...headerNames, "ETag"];
  return {
    description: "The answer.",
    headers: Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }])),
    content: { "application/json": { schema: schemas.refTo(rpc.desc.output) } },
  };
}

const text = { type: "string" };
const responseHeaders = {
  "X-Request-Id": { description: "The caller's, or a new one; it stands in the logs.", schema: text },
  ETag: { description: "Of what was answered, for If-Match and If-None-Match.", schema: text },
  RateLimit: { description: "Requests that are left (r), and seconds until there are all again (t).", schema: text },
  "RateLimit-Policy": { description: "Requests (q) in each window of seconds (w).", schema: text },
};

const problemResponse = {
  description: "What was wrong, as a problem (RFC 9457).",
  headers: {
    "X-Request-Id": { $ref: "#/components/headers/X-Request-Id" },
    "Retry-After": {
      description: "Seconds after which the same call may succeed, where that is known.",
      schema: { type: "integer" },
    },
  },
  content: { [problemType]: { schema: { $ref: "#/components/schemas/Problem" } } },
};

function lowerFirst(name: string): string {
  return name.slice(0, 1).toLowerCase() + name.slice(1);
}
