/**
 * The process that spawns: small, because the cost of a spawn grows with the memory of its parent. Started by spawnerLink.ts
 * as `node spawner.ts <directory> <runner mark> <contained|open>` with the link to its backend as file descriptor 3, or as
 * `node spawner.ts compile`, which only fills the compile cache.
 *
 * It lives exactly as long as that link: when the backend dies, for whatever reason, it kills every execution and leaves.
 */

import { flushCompileCache } from "node:module";
import { Socket } from "node:net";
import { openOutputPipes } from "./outputPipes.ts";
import { killLeftovers, startReaper } from "./reaper.ts";
import { type Spawned, spawnExecution } from "./spawnedExecution.ts";
import * as frames from "./spawnerFrames.ts";
import { openWorkDirectories } from "./workDirectories.ts";

const LEAVE_WITHIN_MS = 5_000;

function main(directory: string, runner: string, isContained: boolean): void {
  const link = new Socket({ fd: 3, readable: true, writable: true });
  const send = frames.frameWriter(link);
  const pools = {
    pipes: openOutputPipes(`${directory}/pipes`),
    directories: openWorkDirectories(`${directory}/work`),
  };
  const byNumber = new Map<number, Spawned>();
  const byExecution = new Map<string, Spawned>();
  const mains = () => Array.from(byExecution.values(), (spawned) => spawned.main());
  const reaper = startReaper({
    runner,
    isContained,
    mains,
    onCleared: (executionIds) => {
      for (const id of executionIds) byExecution.get(id)?.clear();
    },
  });

  const start = (number: number, body: Buffer) => {
    const { order, stdin } = frames.readStart(body);
    const forget = () => {
      byNumber.delete(number);
      byExecution.delete(order.executionId);
    };
    const spawned = spawnExecution(order, stdin, pools, {
      onStarted: (pid) => send(frames.jsonFrame(frames.STARTED, number, { pid, startTime: Date.now() })),
      onOutput: (stream, bytes) =>
        send(frames.frame(stream === "stdout" ? frames.STDOUT : frames.STDERR, number, bytes)),
      onEnded: reaper.wake,
      onExited: (exit) => {
        forget();
        send(frames.jsonFrame(frames.EXITED, number, exit));
      },
      onRefused: (reason, message) => send(frames.jsonFrame(frames.REFUSED, number, { reason, message })),
      onUnavailable: (message) => send(frames.jsonFrame(frames.UNAVAILABLE, number, { message })),
    });
    if (spawned === null) return;
    byNumber.set(number, spawned);
    byExecution.set(order.executionId, spawned);
  };

  const leave = () => {
    reaper.stop();
    const until = performance.now() + LEAVE_WITHIN_MS;
    const killAll = () => {
      const ended = mains().map((each) => ({ ...each, hasEnded: true }));
      const isOver = killLeftovers({ runner, isContained, mains: ended }).size === 0;
      if (isOver || performance.now() > until) process.exit(0);
      setTimeout(killAll, 2);
    };
    killAll();
  };

  const read = frames.frameReader((kind, number, body) => {
    if (kind === frames.START) start(number, body);
    else if (kind === frames.STOP) byNumber.get(number)?.stop(body.readUInt32LE(0));
    else if (kind === frames.ACKNOWLEDGE) byNumber.get(number)?.acknowledge(body.readUInt32LE(0));
    else if (kind === frames.PING) send(frames.frame(frames.PONG, 0));
  });
  link.on("data", read);
  link.on("error", () => link.destroy());
  link.once("close", leave);
  for (const signal of ["SIGINT", "SIGHUP", "SIGTERM"] as const) process.on(signal, () => {}); // the backend decides
  send(frames.frame(frames.READY, 0));
}

const [directory = "", runner = "", containment] = process.argv.slice(2);
if (directory === "compile") flushCompileCache();
else main(directory, runner, containment === "contained");
