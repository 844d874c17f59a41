/** The readiness of a process: of all its apps together. */
import type { AppHealth, RunningApp } from "./app.ts";

/** Probes that come faster than this share an answer, so that nobody can make a process busy with checking. */
const freshMs = 250;

/** Whether all apps are ready, and how each is. */
export interface Ready {
  readonly ready: boolean;
  readonly services: readonly AppHealth[];
}

/** Gives back how to ask; the HTTP and the gRPC health answer the same. */
export function createReady(apps: readonly RunningApp[]): () => Promise<Ready> {
  let asked: { atMs: number; answer: Promise<Ready> } | undefined;

  async function ask(): Promise<Ready> {
    const services = await Promise.all(apps.map((app) => app.health()));
    return { ready: services.every(({ ready }) => ready), services };
  }

  return () => {
    const nowMs = performance.now();
    if (asked === undefined || nowMs - asked.atMs > freshMs) asked = { atMs: nowMs, answer: ask() };
    return asked.answer;
  };
}
