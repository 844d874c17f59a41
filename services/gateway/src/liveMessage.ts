/** What is said on a WebSocket: the grammar of what clients send, refused with every bad field at once, and what we answer. Pure. */

import { DomainError, type FieldViolation, invalid } from "@capstan/errors";
import { isUuid } from "@capstan/postgres";
import { z } from "zod";
import type { LiveFilter } from "./liveFilter.ts";

export const topics = ["job", "jobs", "events", "logs"] as const;
type Topic = (typeof topics)[number];

export interface Subscribe {
  readonly type: "subscribe";
  readonly id: string;
  readonly topic: Topic;
  readonly filter: LiveFilter;
  readonly replay: number;
  /** Of a job or a log: what comes after this number. */
  readonly afterSequence: number | null;
}

export type ClientMessage =
  | Subscribe
  | { readonly type: "unsubscribe"; readonly id: string }
  | { readonly type: "ping" };

/** What the messages are held against, and what is told to a client that is welcomed. */
export interface LiveLimits {
  readonly maxSubscriptions: number;
  readonly maxMessageBytes: number;
  readonly maxReplay: number;
}

const stateWords = [
  ...["PENDING", "RUNNING", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT"],
  ...["ASSIGNED", "STARTING", "STOPPING", "LOST"],
];
const typePattern = /^(capstan\.[a-z]{1,32}\.v1\.)?([a-z_]{1,32}|\*)\.([a-z_]{1,32}|\*)$/;
const queuePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
export const labelKey = /^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$/;
const maxListed = 32;
const maxLabels = 16;
const maxLabelLength = 256;

const id = z
  .string("must be a text of 1 to 64 characters")
  .regex(/^[\w.:-]{1,64}$/, "must be 1 to 64 characters of A-Z a-z 0-9 _ . : -");
const idOf = (what: string) =>
  z.string(`must be the id of ${what}`).refine(isUuid, `must be the id of ${what}`).toLowerCase();
const listOf = (item: z.ZodType<string>) =>
  z.array(item, "must be a list").max(maxListed, `has more than ${maxListed} items`);

/** Shared with the streams of Server-Sent Events, which have it as a query. */
export const filterSchema = z.strictObject(
  {
    jobId: idOf("a job").optional(),
    executionId: idOf("an execution").optional(),
    types: listOf(
      z.string("must be a type").regex(typePattern, 'must be a type such as "job.succeeded" or "job.*"'),
    ).optional(),
    states: listOf(z.enum(stateWords, `must be one of: ${stateWords.join(", ")}`)).optional(),
    queue: z.string("must be the name of a queue").regex(queuePattern, "must be the name of a queue").optional(),
    labels: z
      .record(
        z.string().regex(labelKey, "has a key that is none of a label"),
        z.string("must be a text").max(maxLabelLength, `is longer than ${maxLabelLength} characters`),
        "must be an object",
      )
      .refine((labels) => Object.keys(labels).length <= maxLabels, `has more than ${maxLabels} labels`)
      .optional(),
  },
  { error: wrongObject("a filter") },
);

const wholeNumber = (most: number) =>
  z
    .int(`must be a whole number from 0 to ${most}`)
    .min(0, `must be a whole number from 0 to ${most}`)
    .max(most, `must be a whole number from 0 to ${most}`);

function messageSchema({ maxReplay }: Pick<LiveLimits, "maxReplay">) {
  return z.discriminatedUnion(
    "type",
    [
      z.strictObject(
        {
          type: z.literal("subscribe"),
          id,
          topic: z.enum(topics, `must be one of: ${topics.join(", ")}`),
          filter: filterSchema.default({}),
          replay: wholeNumber(maxReplay).default(0),
          afterSequence: wholeNumber(Number.MAX_SAFE_INTEGER).nullable().default(null),
        },
        { error: wrongObject("subscribe") },
      ),
      z.strictObject({ type: z.literal("unsubscribe"), id }, { error: wrongObject("unsubscribe") }),
      z.strictObject({ type: z.literal("ping") }, { error: wrongObject("ping") }),
    ],
    { error: "must be one of: subscribe, unsubscribe, ping" },
  );
}

/** Reads messages. What it throws is a DomainError for the client, with the message's id if that can be made out. */
export function createMessageReader(limits: LiveLimits): (text: string) => ClientMessage {
  const schema = messageSchema(limits);
  return (text) => {
    const bytes = Buffer.byteLength(text);
    if (bytes > limits.maxMessageBytes) {
      throw refuse("MESSAGE_TOO_LARGE", "message", `has ${bytes} bytes; at most ${limits.maxMessageBytes}`);
    }
    const read = schema.safeParse(parse(text));
    if (!read.success) throw invalid(violationsOf(read.error, "message"));
    if (read.data.type === "subscribe") checkTopic(read.data);
    return read.data;
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw refuse("MESSAGE_NOT_JSON", "message", "is not JSON");
  }
}

/** What zod found, with the path of each field; a field that is unknown is named. */
export function violationsOf(error: z.ZodError, whole: string): FieldViolation[] {
  return error.issues.flatMap((issue) => {
    const at = issue.path.map(String).join(".");
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => ({
        field: at === "" ? key.slice(0, 64) : `${at}.${key.slice(0, 64)}`,
        description: "is unknown",
      }));
    }
    if (issue.code === "invalid_key") return [{ field: at, description: "is no key of a label" }];
    const isMissing = "input" in issue && issue.input === undefined;
    return [{ field: at === "" ? whole : at, description: isMissing ? "is required" : issue.message }];
  });
}

function wrongObject(what: string) {
  return (issue: { readonly code?: string | undefined }) =>
    issue.code === "invalid_type" ? `must be an object of ${what}` : undefined;
}

/** What a topic takes beside its own. */
const filtersOf: Readonly<Record<Topic, readonly (keyof LiveFilter)[]>> = {
  job: ["jobId", "types", "states"],
  jobs: ["jobId", "types", "states", "queue", "labels"],
  events: ["jobId", "executionId", "types", "states", "queue"],
  logs: ["executionId"],
};

function checkTopic({ topic, filter, replay, afterSequence }: Subscribe): void {
  const violations: FieldViolation[] = [];
  const refused = (field: string, description: string) => violations.push({ field, description });
  for (const [field, value] of Object.entries(filter)) {
    if (value === undefined || filtersOf[topic].includes(field as keyof LiveFilter)) continue;
    refused(`filter.${field}`, `is not for the topic ${topic}, which takes: ${filtersOf[topic].join(", ")}`);
  }
  if (topic === "job" && filter.jobId === undefined) refused("filter.jobId", "is required for the topic job");
  if (topic === "logs" && filter.executionId === undefined)
    refused("filter.executionId", "is required for the topic logs");
  if (topic === "logs" && replay > 0) refused("replay", "is not for the topic logs, which begins with the first chunk");
  if (afterSequence !== null && topic !== "job" && topic !== "logs")
    refused("afterSequence", "is only for the topics job and logs");
  if (afterSequence !== null && replay > 0) refused("replay", "does not go with afterSequence");
  if (violations.length > 0) throw invalid(violations);
}

function refuse(reason: string, field: string, description: string): DomainError {
  const message = `${field}: ${description}`;
  return new DomainError({ code: "INVALID_ARGUMENT", reason, message, fields: [{ field, description }] });
}

/** The id that a message has, even one that cannot be understood. */
export function idOfMessage(text: string): string | undefined {
  return /"id"\s*:\s*"([\w.:-]{1,64})"/.exec(text.slice(0, 4_096))?.[1];
}

export const answers = {
  welcome: (sessionId: string, heartbeatMs: number, limits: LiveLimits) => ({
    type: "welcome",
    sessionId,
    heartbeatMs,
    limits,
  }),
  subscribed: (id: string) => ({ type: "subscribed", id }),
  /** `reason` tells an end that the client has not asked for. */
  unsubscribed: (id: string, reason?: "ENDED") => ({ type: "unsubscribed", id, ...(reason && { reason }) }),
  dropped: (id: string, count: number) => ({ type: "dropped", id, count }),
  pong: () => ({ type: "pong" }),
  heartbeat: () => ({ type: "heartbeat" }),
  error: ({ reason, message, fields }: DomainError, id: string | undefined) => ({
    type: "error",
    ...(id !== undefined && { id }),
    reason,
    message,
    ...(fields.length > 0 && { errors: fields.map(({ field, description }) => ({ field, message: description })) }),
  }),
} as const;
