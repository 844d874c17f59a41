/**
 * What a service registers with the process it lives in: how to close what it opened, what it serves, what it depends on, what
 * runs in the background. Several apps may share a process, its gRPC server and its health server.
 */
import type { ServiceRegistration } from "@capstan/grpc";
import type { Checkup } from "@capstan/proto/capstan/system/v1/checkup.ts";
import { type Check, checkAll, type DependencyHealth } from "./check.ts";
import type { Logger } from "./log.ts";
import { type Loop, type LoopHealth, type LoopOptions, type RunningLoop, startLoop } from "./loop.ts";
import { untilReady } from "./untilReady.ts";

/** What a service's `start` is given: the process it lives in. */
export interface App {
  readonly name: string;
  readonly log: Logger;
  /** Aborts when stopping begins. */
  readonly signal: AbortSignal;
  /** Registers how to close what was just opened; the last one opened is closed first. */
  onStop(release: () => Promise<void> | void): void;
  addService(
    definition: ServiceRegistration["definition"],
    implementation: ServiceRegistration["implementation"],
  ): void;
  /** A dependency without which the service is not ready; it is down while `check` throws or takes over 2 s. */
  addCheck(name: string, check: () => Promise<void>): void;
  /** What the service found when it last looked at itself, for whoever asks its SystemService. */
  addCheckup(last: () => Checkup): void;
  /** Starts a loop that makes its first pass when the whole process has started, its gRPC server included. */
  startLoop(options: LoopOptions): Loop;
  /** Does `work` again and again while what it needs is not there, and shows so in health; any other failure is thrown. */
  untilReady<T>(name: string, work: () => Promise<T>): Promise<T>;
}

/** How one app is, as /readyz shows it. */
export interface AppHealth {
  readonly service: string;
  readonly ready: boolean;
  readonly dependencies: readonly DependencyHealth[];
  readonly loops: readonly LoopHealth[];
}

/** The app as its process sees it. */
export interface RunningApp extends App {
  readonly services: readonly ServiceRegistration[];
  checkups(): readonly Checkup[];
  /** Until this is called the app is not ready, however well it is. */
  markStarted(): void;
  health(): Promise<AppHealth>;
  /** Closes everything in reverse order; what fails to close is logged and does not keep the rest open. */
  stop(): Promise<void>;
}

export function createApp(name: string, log: Logger): RunningApp {
  const stopping = new AbortController();
  const { signal } = stopping;
  const releases: (() => Promise<void> | void)[] = [];
  const services: ServiceRegistration[] = [];
  const checks = new Map<string, Check>();
  const checkups: (() => Checkup)[] = [];
  const loops = new Map<string, RunningLoop>();
  const started = Promise.withResolvers<void>();
  let isStarted = false;

  async function release(close: () => Promise<void> | void): Promise<void> {
    try {
      await close();
    } catch (error) {
      log.error({ err: error }, "closing failed");
    }
  }

  function onStop(close: () => Promise<void> | void): void {
    // Start-up may still open things when stopping has begun.
    if (signal.aborted) void release(close);
    else releases.push(close);
  }

  async function closeAll(): Promise<void> {
    stopping.abort();
    started.resolve();
    for (const close of releases.reverse()) await release(close);
  }

  let stopped: Promise<void> | undefined;
  return {
    name,
    log,
    signal,
    services,
    onStop,
    addService(definition, implementation) {
      services.push({ definition, implementation });
    },
    addCheck(dependency, check) {
      checks.set(dependency, check);
    },
    addCheckup(last) {
      checkups.push(last);
    },
    checkups: () => checkups.map((last) => last()),
    startLoop(options) {
      if (loops.has(options.name)) throw new Error(`there is a loop ${options.name} already`);
      const loop = startLoop(options, log, started.promise);
      loops.set(options.name, loop);
      onStop(loop.stop);
      return loop;
    },
    untilReady: (dependency, work) => untilReady(dependency, work, { log, signal, checks }),
    markStarted() {
      isStarted = true;
      started.resolve();
    },
    async health() {
      const dependencies = await checkAll(checks);
      const loopsNow = [...loops.values()].map((loop) => loop.health());
      const ready = isStarted && !signal.aborted && [...dependencies, ...loopsNow].every(({ ok }) => ok);
      return { service: name, ready, dependencies, loops: loopsNow };
    },
    stop: () => (stopped ??= closeAll()),
  };
}
