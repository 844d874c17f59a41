/**
 * How many requests one address may make. The headers are those of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy` says what
 * holds, `RateLimit` how many are left (r) and in how many seconds there are all again (t). Each gateway counts for itself.
 */
import { DomainError } from "@capstan/errors";
import rateLimit from "@fastify/rate-limit";
import type { FastifyInstance } from "fastify";

export interface RateLimit {
  /** Requests in each window; 0: no limit. */
  readonly limit: number;
  readonly windowMs: number;
}

/** Addresses that are remembered; who comes anew then begins with a full window. */
const maxAddresses = 10_000;

/** Every request counts, also those that are refused otherwise, except by who asks for what only browsers ask: preflights. */
export async function limitRequests(http: FastifyInstance, { limit, windowMs }: RateLimit): Promise<void> {
  if (limit === 0) return;
  await http.register(rateLimit, { global: false, max: limit, timeWindow: windowMs, cache: maxAddresses });
  const take = http.createRateLimit();
  const policy = `"default";q=${limit};w=${windowMs / 1_000}`;

  http.addHook("onRequest", async (request, reply) => {
    if (request.method === "OPTIONS") return;
    const taken = await take(request);
    if (taken.isAllowed) return;
    reply.header("ratelimit-policy", policy);
    reply.header("ratelimit", `"default";r=${taken.remaining};t=${taken.ttlInSeconds}`);
    if (!taken.isExceeded) return;
    throw new DomainError({
      code: "RESOURCE_EXHAUSTED",
      reason: "RATE_LIMITED",
      message: `more than ${limit} requests came from this address within ${windowMs / 1_000} s; try again later`,
      metadata: { limit: String(limit), windowMs: String(windowMs) },
      retryAfterMs: Math.max(1, taken.ttl),
    });
  });
}
