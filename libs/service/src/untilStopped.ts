/** The life of a process. Signals are listened to before anything is opened, so that a slow start can be stopped too. */

import { DomainError } from "@capstan/errors";
import type { RunningApp } from "./app.ts";
import type { Logger } from "./log.ts";

const stopLimitMs = 25_000;
const signalNumbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
/** npm hands Ctrl-C on to a process that has had it from the terminal already; the two are one wish. */
const sameSignalMs = 500;

/**
 * Starts what is released through `app`, announces what `start` gives back (by default as the line "ready" of the log) and
 * resolves. SIGTERM, SIGINT and SIGHUP stop the app and end the process with 0, or with 1 when that takes over 25 s; a second
 * signal ends it at once. A start that fails ends it with 1.
 */
export async function runUntilStopped<F extends object>(
  app: RunningApp,
  start: () => Promise<F>,
  announce: (facts: F) => void = logReady(app.log),
): Promise<void> {
  const { log, signal } = app;
  listenToSignals(app);
  try {
    const facts = await start();
    if (signal.aborted) return;
    app.markStarted();
    announce(facts);
  } catch (error) {
    // When stopping has begun, the start was given up and the stopping ends the process.
    if (signal.aborted) return;
    // A refusal says all there is to know; where it was thrown helps nobody who starts a service.
    if (error instanceof DomainError) log.fatal({ reason: error.reason, refusal: error.message }, "start failed");
    else log.fatal({ err: error }, "start failed");
    await stopWithin(app, stopLimitMs);
    process.exit(1);
  }
}

/** Whoever started the process waits for this line, whatever the level of the log. */
function logReady(log: Logger): (facts: object) => void {
  return (facts) => log.child({}, { level: "info" }).info(facts, "ready");
}

function listenToSignals(app: RunningApp): void {
  let firstMs: number | undefined;

  async function onSignal(name: keyof typeof signalNumbers): Promise<void> {
    const nowMs = performance.now();
    if (firstMs !== undefined && nowMs - firstMs < sameSignalMs) return;
    if (firstMs !== undefined) process.exit(128 + signalNumbers[name]);
    firstMs = nowMs;
    app.log.info({ signal: name }, "stopping");
    const hasStopped = await stopWithin(app, stopLimitMs);
    process.exit(hasStopped ? 0 : 1);
  }

  for (const name of ["SIGHUP", "SIGINT", "SIGTERM"] as const) process.on(name, () => void onSignal(name));
  process.on("uncaughtException", (error) => {
    app.log.fatal({ err: error }, "a defect ends the process");
    process.exit(1);
  });
}

async function stopWithin(app: RunningApp, limitMs: number): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(false), limitMs);
  const hasStopped = await Promise.race([app.stop().then(() => true), late.promise]);
  clearTimeout(timer);
  if (!hasStopped) app.log.error({ limitMs }, "stopping took too long and is cut off");
  return hasStopped;
}
