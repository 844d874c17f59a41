/**
 * One execution inside the spawner: its files, its process, its output, its end.
 *
 * The end has three parts that come in any order: the first process exits, nothing of it is left alive (the reaper says so),
 * both pipes are read to their end. Only then is it reported.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, rmSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import type { OutputStream, StartRefusedReason } from "./backend.ts";
import type { Main } from "./leftovers.ts";
import type { OutputPipe, OutputPipes } from "./outputPipes.ts";
import { currentTicks, signalAll } from "./reaper.ts";
import { type ExitedBody, type Order, OUTPUT_WINDOW } from "./spawnerFrames.ts";
import type { WorkDirectories } from "./workDirectories.ts";

/** How long the pipes may stay open when nothing is left alive to write into them. */
const LAST_OUTPUT_MS = 2_000;

interface SpawnedEvents {
  onStarted(pid: number): void;
  onOutput(stream: OutputStream, bytes: Buffer): void;
  /** The first process has ended; the reaper must look. */
  onEnded(): void;
  /** All is over and tidied up. */
  onExited(exit: ExitedBody): void;
  /** It can never start. */
  onRefused(reason: StartRefusedReason, message: string): void;
  /** This machine cannot start anything now. */
  onUnavailable(message: string): void;
}

export interface Spawned {
  main(): Main;
  stop(graceMs: number): void;
  acknowledge(bytes: number): void;
  /** Nothing of it is left alive. */
  clear(): void;
}

/** What executions take from and give back. */
interface SpawnerPools {
  readonly pipes: OutputPipes;
  readonly directories: WorkDirectories;
}

interface Holdings {
  readonly directory: string;
  readonly output: Record<OutputStream, OutputPipe>;
  /** Gives everything back; pipes that were not read to their end are thrown away. */
  release(isAtEnd: boolean): void;
}

/** Starts it; null when that failed, which the events tell too. */
export function spawnExecution(
  order: Order,
  stdin: Uint8Array,
  pools: SpawnerPools,
  events: SpawnedEvents,
): Spawned | null {
  let held: Holdings | null = null;
  const giveUp = (error: unknown) => {
    held?.release(false);
    explain(error, order, events);
    return null;
  };
  try {
    held = hold(order, pools);
    const child = launch(order, stdin, held);
    if (child.pid !== undefined) return follow(order.executionId, child, child.pid, held, events);
    child.once("error", giveUp);
    return null;
  } catch (error) {
    return giveUp(error);
  }
}

function hold({ script }: Order, { pipes, directories }: SpawnerPools): Holdings {
  const directory = directories.take();
  const output = { stdout: pipes.open(), stderr: pipes.open() };
  return {
    directory,
    output,
    release: (isAtEnd) => {
      for (const pipe of Object.values(output)) pipes.release(pipe, isAtEnd);
      if (script !== null) rmSync(scriptPath(directory), { force: true });
      directories.release(directory);
    },
  };
}

function launch(order: Order, stdin: Uint8Array, { directory, output }: Holdings): ChildProcess {
  const [file = "", ...args] = order.script === null ? order.argv : withScript(order.argv, order.script, directory);
  const input = order.hasStdin ? openInput(directory, stdin) : "ignore";
  const ends = [output.stdout.writeEnd, output.stderr.writeEnd];
  try {
    return spawn(file, args, {
      cwd: order.workingDirectory ?? directory,
      env: "HOME" in order.env ? order.env : Object.assign(order.env, { HOME: directory }),
      stdio: [input, ...ends],
      detached: true,
    });
  } finally {
    for (const end of ends) closeSync(end);
    if (typeof input === "number") closeSync(input);
  }
}

function follow(
  executionId: string,
  child: ChildProcess,
  pid: number,
  { output, release }: Holdings,
  events: SpawnedEvents,
): Spawned {
  const startTicks = currentTicks();
  const readEnds = [output.stdout.readEnd, output.stderr.readEnd];
  let exit: ExitedBody | null = null;
  let isCleared = false;
  let isReported = false;
  let openStreams = readEnds.length;
  let inFlight = 0;
  let bytesRead = 0;
  let killAt = Number.POSITIVE_INFINITY; // of several stops the most impatient counts
  let killTimer: NodeJS.Timeout | null = null;
  let lastOutputTimer: NodeJS.Timeout | null = null;

  const finish = (isAtEnd: boolean) => {
    if (isReported || exit === null) return;
    isReported = true;
    if (lastOutputTimer !== null) clearTimeout(lastOutputTimer);
    release(isAtEnd);
    events.onExited(exit);
  };
  const finishIfOver = () => {
    if (isCleared && openStreams === 0) finish(true);
  };
  // Only a process that hid from the reaper can hold a pipe open now; when it falls silent it is no longer waited for.
  const expectEndOfOutput = (readBefore: number) => {
    if (openStreams === 0) return;
    if (bytesRead === readBefore && !readEnds.some((each) => each.isPaused())) finish(false);
    else lastOutputTimer = setTimeout(expectEndOfOutput, LAST_OUTPUT_MS, bytesRead);
  };
  const read = (stream: OutputStream) => {
    const { readEnd } = output[stream];
    readEnd.on("data", (bytes: Buffer) => {
      bytesRead += bytes.length;
      inFlight += bytes.length;
      if (inFlight > OUTPUT_WINDOW) for (const each of readEnds) each.pause();
      events.onOutput(stream, bytes);
    });
    readEnd.on("error", () => readEnd.destroy());
    readEnd.once("close", () => {
      openStreams--;
      finishIfOver();
    });
  };
  read("stdout");
  read("stderr");
  child.once("exit", (exitCode, signal) => {
    exit = { exitCode, signal, endTime: Date.now() };
    if (killTimer !== null) clearTimeout(killTimer);
    events.onEnded();
  });
  child.on("error", () => {}); // a signal that could not be sent; the reaper has the last word
  events.onStarted(pid);

  return {
    main: () => ({ pid, executionId, startTicks, hasEnded: exit !== null }),
    stop: (graceMs) => {
      const at = performance.now() + graceMs;
      if (exit !== null || at >= killAt) return;
      if (killTimer !== null) clearTimeout(killTimer);
      else signalAll([-pid], "SIGTERM");
      killAt = at;
      killTimer = setTimeout(() => exit === null && signalAll([-pid], "SIGKILL"), graceMs);
    },
    acknowledge: (bytes) => {
      inFlight -= bytes;
      if (inFlight <= OUTPUT_WINDOW) for (const each of readEnds) each.resume();
    },
    clear: () => {
      if (isCleared) return;
      isCleared = true;
      finishIfOver();
      expectEndOfOutput(-1);
    },
  };
}

function scriptPath(directory: string): string {
  return `${directory}.script`;
}

function withScript(argv: Order["argv"], script: NonNullable<Order["script"]>, directory: string): string[] {
  writeFileSync(scriptPath(directory), script.content, { mode: 0o600 });
  return argv.toSpliced(script.index, 0, scriptPath(directory));
}

/** Stdin is a file without a name: no pipe to feed, and the workload may open /dev/stdin again. */
function openInput(directory: string, stdin: Uint8Array): number {
  const path = `${directory}.stdin`;
  writeFileSync(path, stdin, { mode: 0o600 });
  const file = openSync(path, "r");
  unlinkSync(path);
  return file;
}

/** Puts the system's error into the port's words. What is neither the command's nor the directory's fault may pass. */
function explain(error: unknown, { argv, workingDirectory }: Order, events: SpawnedEvents): void {
  const { code = "", message } = error as NodeJS.ErrnoException;
  const command = argv[0] ?? "";
  if (workingDirectory !== null && !isDirectory(workingDirectory)) {
    events.onRefused("BAD_WORKING_DIRECTORY", `the working directory ${workingDirectory} is not there`);
  } else if (code === "ENOENT" || code === "ENOTDIR") {
    events.onRefused("COMMAND_NOT_FOUND", `the command ${command} was not found`);
  } else if (code === "EACCES" || code === "EPERM") {
    events.onRefused("PERMISSION_DENIED", `the command ${command} may not be executed`);
  } else if (code === "E2BIG" || code === "ENOEXEC" || code.startsWith("ERR_INVALID")) {
    events.onRefused("START_FAILED", `the command ${command} cannot be started: ${code}`);
  } else {
    events.onUnavailable(`the machine cannot start a process: ${code || message}`);
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
