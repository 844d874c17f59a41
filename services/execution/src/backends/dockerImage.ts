/**
 * Gets an image that is missing. Starts of one image share one pull.
 *
 * What a registry or a resolver says may name hosts and addresses that are none of the user's business, so a failure is told
 * in our own words.
 */

import type Docker from "dockerode";
import { StartRefused } from "./backend.ts";
import { callEngine, EngineRefused, engineError } from "./dockerEngine.ts";

const PULL_LIMIT_MS = 15 * 60_000;

/** Resolves when the engine has the image; throws {@link StartRefused} when it cannot get it. */
type PullImage = (image: string) => Promise<void>;

/** Pulls through this engine. */
export function createPull(engine: Docker): PullImage {
  const underWay = new Map<string, Promise<void>>();
  return (image) => {
    const shared = underWay.get(image) ?? pull(engine, image).finally(() => underWay.delete(image));
    underWay.set(image, shared);
    return shared;
  };
}

/** Why an image could not be had, from what the engine said. */
export function explainPull(image: string, said: string): StartRefused {
  const failed = (why: string) => new StartRefused("IMAGE_PULL_FAILED", `the image ${image} cannot be pulled: ${why}`);
  if (/invalid reference format/i.test(said)) {
    return new StartRefused("IMAGE_NOT_FOUND", `${image} is not the name of an image`);
  }
  if (/manifest unknown|not found|does not exist|no such image/i.test(said) && !/lookup|no such host/i.test(said)) {
    return new StartRefused("IMAGE_NOT_FOUND", `there is no image ${image}, or none that may be pulled`);
  }
  if (/unauthorized|denied|authentication|no basic auth/i.test(said)) return failed("the registry refuses access");
  if (/toomanyrequests|too many requests/i.test(said)) return failed("the registry is asked too often");
  if (/x509|certificate|tls:/i.test(said)) return failed("the registry's certificate is not accepted");
  if (/no space left/i.test(said)) return failed("the engine's disk is full");
  if (/timeout|deadline|canceled/i.test(said)) return failed("the registry did not answer in time");
  if (/no such host|lookup|connection refused|no route|unreachable|connection reset|EOF/i.test(said)) {
    return failed("the registry cannot be reached");
  }
  return failed("the registry or the engine failed");
}

async function pull(engine: Docker, image: string): Promise<void> {
  const limit = AbortSignal.timeout(PULL_LIMIT_MS);
  try {
    // A name without tag or digest would pull every tag there is; the client adds `latest`.
    const progress = await callEngine((abortSignal) => engine.pull(image, { abortSignal }), limit, PULL_LIMIT_MS);
    const said = await readProgress(engine, progress, limit);
    if (said !== null) throw explainPull(image, said);
  } catch (error) {
    if (error instanceof EngineRefused) throw explainPull(image, error.message);
    if (limit.aborted) throw explainPull(image, "timeout");
    throw error;
  }
}

/** Follows a pull to its end; null is success, a text what went wrong. Rejects when the engine went away meanwhile. */
function readProgress(engine: Docker, progress: NodeJS.ReadableStream, limit: AbortSignal): Promise<string | null> {
  return new Promise((resolve, reject) => {
    limit.addEventListener("abort", () => reject(limit.reason), { once: true });
    engine.modem.followProgress(progress, (error: Error | null, lines: readonly { error?: string }[]) => {
      if (error !== null) reject(engineError(error));
      else resolve(lines.findLast((line) => line.error !== undefined)?.error ?? null);
    });
  });
}
