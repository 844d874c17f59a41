/** Names on NATS. Every token is an enum word or an id, never a user's text, so that a wildcard cannot be smuggled in. */
import type { Fact } from "@capstan/postgres";

const token = /^[a-z0-9_-]+$/;

/** The stream that holds the facts of a context. */
export function streamName(context: string): string {
  return `CAPSTAN_${context.toUpperCase()}`;
}

/** All subjects of a context, which its stream takes. */
export function contextSubjects(context: string): string {
  return `capstan.v1.*.${context}.>`;
}

/** `capstan.v1.<tenant>.<context>.<noun>.<event>.<aggregate id>`; throws on anything that is not a plain token. */
export function factSubject(context: string, fact: Pick<Fact, "tenant" | "noun" | "event" | "aggregateId">): string {
  const tokens = [fact.tenant, context, fact.noun, fact.event, fact.aggregateId];
  for (const each of tokens) {
    if (!token.test(each))
      throw new Error(`${JSON.stringify(each)} cannot be a token of a subject: ${tokens.join(".")}`);
  }
  return `capstan.v1.${tokens.join(".")}`;
}
