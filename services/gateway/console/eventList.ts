/** The facts that a screen of events keeps: the newest first, at most so many, none twice; and what is listened to. Pure. */

import { humanWord } from "./format.ts";
import type { LiveEvent } from "./liveEvent.ts";

export const mostKept = 1_000;

/** With those that have just come, in the order in which they came, at the top. */
export function withNews(
  kept: readonly LiveEvent[],
  news: readonly LiveEvent[],
  most = mostKept,
): readonly LiveEvent[] {
  const known = new Set(kept.map(({ id }) => id));
  const fresh: LiveEvent[] = [];
  for (const fact of news) {
    if (known.has(fact.id)) continue;
    known.add(fact.id);
    fresh.push(fact);
  }
  return fresh.length === 0 ? kept : [...fresh.reverse(), ...kept].slice(0, most);
}

export interface EventFilter {
  readonly context: string;
  readonly type: string;
  readonly jobId: string;
  readonly queue: string;
}

const patterns = {
  type: [
    /^([a-z_]{1,32}|\*)\.([a-z_]{1,32}|\*)$/,
    "a noun and what happened, such as job.succeeded, job.* or *.failed",
  ],
  jobId: [/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, "the whole id of a job"],
  queue: [/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "the name of a queue"],
} as const;

/** What is wrong with it, by field. */
export function problemsOf(filter: EventFilter): ReadonlyMap<string, string> {
  const wrong = (["type", "jobId", "queue"] as const).filter(
    (name) => filter[name] !== "" && !patterns[name][0].test(filter[name]),
  );
  return new Map(wrong.map((name) => [name, `Give ${patterns[name][1]}`]));
}

/** The filter of the live connection. */
export function liveFilterOf({ context, type, jobId, queue }: EventFilter): Readonly<Record<string, unknown>> {
  const types = context === "" ? (type === "" ? [] : [type]) : [`capstan.${context}.v1.${type === "" ? "*.*" : type}`];
  return {
    ...(types.length === 0 ? {} : { types }),
    ...(jobId === "" ? {} : { jobId }),
    ...(queue === "" ? {} : { queue }),
  };
}

/** `capstan.job.v1.job.succeeded` in its context, and without it. */
export function wordsOf(type: string): { readonly context: string; readonly name: string } {
  const [, context = "", , noun = "", event = ""] = type.split(".");
  return { context, name: noun === "" ? type : `${noun}.${event}` };
}

const told = [
  "name",
  "step",
  "state",
  "reason",
  "message",
  "queue",
  "providerName",
  "pool",
  "handler",
  "note",
  "error",
] as const;

/** What a fact says, in a line: its state, reason and message before all else. */
export function summaryOf({ data = {} }: Pick<LiveEvent, "data">): string {
  const parts = told.flatMap((name) => {
    const value = data[name];
    if (typeof value !== "string" || value === "" || /_UNSPECIFIED$/.test(value)) return [];
    return [name === "state" || name === "reason" ? humanWord(value) : value];
  });
  return parts.join(" · ");
}
