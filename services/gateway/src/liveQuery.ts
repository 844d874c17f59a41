/** What a live client says with its request: filters as a query, what it is, and where it stood. Every bad parameter is refused at once. */
import { type FieldViolation, invalid } from "@capstan/errors";
import type { FastifyRequest } from "fastify";
import type { LiveFilter } from "./liveFilter.ts";
import { filterSchema, labelKey, violationsOf } from "./liveMessage.ts";
import type { SessionClient, SessionKind } from "./session.ts";

export const maxClientLength = 128;
export const maxMetadata = 16;
export const maxMetadataLength = 256;
const maxPathLength = 256;

/** Of all live requests; `allowed` are those of one path beside them. */
export interface LiveQuery {
  readonly filter: LiveFilter;
  readonly client: Pick<SessionClient, "client" | "metadata">;
  /** Of each name the first; only those that are allowed. */
  readonly own: ReadonlyMap<string, string>;
}

/** What one path takes in its query, beside `client` and `metadata.<key>`. */
interface TakenQuery {
  readonly filters: readonly (keyof LiveFilter)[];
  readonly own: readonly string[];
}

/** Of each live path. The OpenAPI document says the same. */
export const liveQueries = {
  watchJob: { filters: ["types", "states"], own: ["afterSequence", "replay"] },
  watchJobs: { filters: ["jobId", "types", "states", "queue", "labels"], own: ["replay", "lastEventId"] },
  tailLogs: { filters: [], own: ["afterSequence"] },
  openLive: { filters: [], own: [] },
} as const satisfies Readonly<Record<string, TakenQuery>>;

const filterNames = ["jobId", "executionId", "types", "states", "queue"];

export function readLiveQuery(request: FastifyRequest, { filters, own }: TakenQuery): LiveQuery {
  const query = new URL(request.raw.url ?? "/", "http://localhost").searchParams;
  const { filter, metadata, ownValues, unknown } = sort(query, filters, own);
  const read = filterSchema.safeParse(filter);
  const client = query.get("client") ?? request.headers["user-agent"] ?? "";
  const violations: readonly FieldViolation[] = [
    ...unknown.map((name) => ({ field: name.slice(0, 64), description: "is unknown" })),
    ...(read.success ? [] : violationsOf(read.error, "query")),
    ...badMetadata(metadata),
    ...(query.has("client") && !isLine(client, maxClientLength)
      ? [{ field: "client", description: lineOf(maxClientLength) }]
      : []),
  ];
  if (violations.length > 0) throw invalid(violations);
  return {
    filter: read.data ?? {},
    client: { client: clean(client).slice(0, maxClientLength), metadata: Object.fromEntries(metadata) },
    own: ownValues,
  };
}

const lineOf = (length: number) => `must have at most ${length} characters, none of them control characters`;

/** Which parameter is what; a list may be given as several parameters, or as one with commas. */
function sort(query: URLSearchParams, filters: readonly (keyof LiveFilter)[], own: readonly string[]) {
  const filter: Record<string, unknown> = {};
  const labels: [string, string][] = [];
  const metadata: [string, string][] = [];
  const ownValues = new Map<string, string>();
  const unknown: string[] = [];
  const names = filterNames.filter((name) => filters.some((taken) => taken === name));
  for (const name of new Set(query.keys())) {
    const value = query.get(name) ?? "";
    if (own.includes(name)) ownValues.set(name, value);
    else if (name.startsWith("metadata.")) metadata.push([name.slice("metadata.".length), value]);
    else if (name.startsWith("labels.") && filters.includes("labels"))
      labels.push([name.slice("labels.".length), value]);
    else if (name === "types" || name === "states")
      filter[name] = query.getAll(name).flatMap((text) => text.split(","));
    else if (names.includes(name)) filter[name] = value;
    else if (name !== "client") unknown.push(name);
  }
  if (labels.length > 0) filter["labels"] = Object.fromEntries(labels);
  const listed = unknown.concat(["types", "states"].filter((name) => name in filter && !names.includes(name)));
  return { filter, metadata, ownValues, unknown: listed };
}

function badMetadata(metadata: readonly (readonly [string, string])[]): readonly FieldViolation[] {
  const bad = metadata.flatMap(([key, value]) => {
    const field = `metadata.${key.slice(0, 64)}`;
    if (!labelKey.test(key)) return [{ field, description: "has a key that is none of a label" }];
    return isLine(value, maxMetadataLength) ? [] : [{ field, description: lineOf(maxMetadataLength) }];
  });
  return metadata.length > maxMetadata
    ? [...bad, { field: "metadata", description: `has ${metadata.length} entries; at most ${maxMetadata}` }]
    : bad;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const controlCharacters = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

function isLine(text: string, maxLength: number): boolean {
  return text.length <= maxLength && text.search(controlCharacters) < 0 && text.isWellFormed();
}

function clean(text: string): string {
  return text.replace(controlCharacters, " ").toWellFormed();
}

/** A whole number of the query or of `Last-Event-ID`, which wins; null if there is none. */
export function readNumber(text: string | undefined, field: string, most: number): number | null {
  if (text === undefined) return null;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= most) return value;
  throw invalid([{ field, description: `must be a whole number from 0 to ${most}` }]);
}

/** Null if the client has said nothing of it. */
export function lastEventId(request: FastifyRequest): string | null {
  const header = request.headers["last-event-id"];
  return typeof header === "string" && header !== "" ? header : null;
}

/** The client as its session has it. */
export function clientOf(request: FastifyRequest, kind: SessionKind, { client }: LiveQuery): SessionClient {
  const [path = ""] = request.url.split("?");
  return { tenant: "default", kind, ...client, address: request.ip, path: path.slice(0, maxPathLength) };
}
