/**
 * The live paths as the OpenAPI document has them: streams of Server-Sent Events, and the WebSocket. What each takes is what
 * `liveQueries` lets it take, and what that must be is what the filters of subscriptions are checked against.
 */
import { z } from "zod";
import type { Schema } from "./jsonSchema.ts";
import { filterSchema, topics } from "./liveMessage.ts";
import { liveQueries, maxClientLength, maxMetadata, maxMetadataLength } from "./liveQuery.ts";

type LiveName = keyof typeof liveQueries;

/** A part of the document. */
type Part = { readonly [key: string]: unknown };

export const liveTag = {
  name: "Live",
  description:
    "What happens, as it happens. The streams of one job and of one log stand with the job and the execution.",
};

const wholeNumber = { type: "integer", format: "int64", minimum: 0 };
const filters = z.toJSONSchema(filterSchema).properties as Readonly<Record<string, Schema>>;

/** Beside the name of each parameter. A list has commas; a map is a parameter for each of its keys. */
const parameters: Readonly<Record<string, Part>> = {
  client: {
    description: "What the client calls itself, shown with its session; its `User-Agent` if it says nothing.",
    schema: { type: "string", maxLength: maxClientLength },
  },
  metadata: keyed("metadata", "What else it says of itself, each as `metadata.<key>=<value>`.", {
    maxProperties: maxMetadata,
    additionalProperties: { type: "string", maxLength: maxMetadataLength },
  }),
  afterSequence: {
    description: "Begin after this `sequence`; `Last-Event-ID` goes before it.",
    schema: wholeNumber,
  },
  replay: {
    description: "Begin with the last so many that match; at most `CAPSTAN_LIVE_MAX_REPLAY`. Not with `afterSequence`.",
    schema: wholeNumber,
  },
  lastEventId: {
    description: "Stands for `Last-Event-ID` where that header cannot be sent.",
    schema: { type: "string" },
  },
  jobId: { description: "Of this job only.", schema: filters["jobId"] },
  types: list("Of these types only, such as `job.succeeded`, `job.*` or `*.failed`.", filters["types"]),
  states: list("With these states after the fact only, such as `FAILED`.", filters["states"]),
  queue: { description: "Of jobs of this queue only.", schema: filters["queue"] },
  labels: keyed("labels", "Of jobs with all these labels only, each as `labels.<key>=<value>`.", filters["labels"]),
};

function list(description: string, schema: Schema | undefined): Part {
  return { description, style: "form", explode: false, schema };
}

/** An object whose fields are parameters of their own: `labels.team=red`. */
function keyed(name: string, description: string, schema: Schema = {}): Part {
  const { additionalProperties, maxProperties } = schema;
  return {
    description,
    style: "form",
    explode: true,
    schema: {
      type: "object",
      patternProperties: { [`^${name}\\.`]: additionalProperties },
      additionalProperties: false,
      ...(maxProperties !== undefined && { maxProperties }),
    },
  };
}

/** What stands in the query of a live path. */
function queryOf(name: LiveName): readonly Part[] {
  const { filters: taken, own } = liveQueries[name];
  return [...own, ...taken, "client", "metadata"].map((each) => ({
    name: each,
    in: "query",
    required: false,
    ...parameters[each],
  }));
}

/** Query and headers of a stream of Server-Sent Events; null if there is none of this name. */
export function streamParameters(name: string): readonly Part[] | null {
  if (!Object.hasOwn(liveQueries, name)) return null;
  const lastEventId = {
    name: "Last-Event-ID",
    in: "header",
    required: false,
    description: "The last `id` that was read: what follows comes next. An `EventSource` sends it by itself.",
    schema: { type: "string" },
  };
  return [...queryOf(name as LiveName), lastEventId];
}

/** `hasEnd`: whether all can be told, after which there is nothing to come back for. */
export function streamResponses(data: string, hasEnd: boolean): Part {
  return {
    200: {
      description: `Server-Sent Events. The \`data\` of each is JSON on one line: ${data}. See docs/live.md.`,
      content: { "text/event-stream": { schema: { type: "string", examples: ["id: 1\ndata: {…}\n\n"] } } },
    },
    ...(hasEnd && { 204: { description: "All of it was told before `Last-Event-ID`; do not come back." } }),
  };
}

/** Of the facts, as all of live tells them. */
export const eventData = "a CloudEvent";
/** Of a log. */
export const logData = "a chunk of the log (`log.chunk`), at last its end (`log.sealed`)";

/** The live paths that are no RPCs. `refused` are the answers to whoever is refused. */
export function livePaths(refused: Part): Readonly<Record<string, Part>> {
  const { "4XX": badRequest } = refused;
  return {
    "/api/v1/jobs:watch": {
      get: {
        operationId: "watchJobs",
        tags: [liveTag.name],
        summary: "The facts of all jobs as they happen",
        description:
          "From now on, or after the place where one stood. Goes back as far as the stream of facts does; beyond that it begins with the " +
          "oldest and says so by a message `event: gap`.",
        parameters: streamParameters("watchJobs"),
        responses: { ...streamResponses(eventData, false), ...refused },
      },
    },
    "/api/v1/live": {
      get: {
        operationId: "openLive",
        tags: [liveTag.name],
        summary: "The WebSocket: many subscriptions at once",
        description:
          `JSON both ways, one message a frame: subscribe to ${topics.map((topic) => `\`${topic}\``).join(", ")}, unsubscribe, ping. ` +
          "docs/live.md has every message.",
        parameters: queryOf("openLive"),
        responses: {
          101: { description: "The connection is a WebSocket from here on. Its first message is `welcome`." },
          "4XX": badRequest,
          default: badRequest,
        },
      },
    },
  };
}
