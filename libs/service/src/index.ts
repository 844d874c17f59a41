/** What every service's process is made of: configuration, log, loops, health, telemetry, and the order they start and stop in. */
export { type App, createApp, type RunningApp } from "./app.ts";
export { coalesce } from "./coalesce.ts";
export { baseConfig, ConfigError, readConfig } from "./config.ts";
export { openGrpc } from "./grpcServer.ts";
export { openHealth } from "./healthServer.ts";
export { createLogger, type Logger } from "./log.ts";
export type { Loop, LoopOptions } from "./loop.ts";
export { type Figure, readFigures } from "./metrics.ts";
export { runService } from "./runService.ts";
export { spanFor, startTracing, type WorkSpan } from "./tracing.ts";
export { runUntilStopped } from "./untilStopped.ts";
