/**
 * Named pipes for the workloads' output, made in advance and used again and again.
 *
 * Node's own `stdio: "pipe"` is a socket, and a socket cannot be opened by name: `echo failed > /dev/stderr` would fail in
 * every workload. Only `mkfifo` makes pipes without native code, so one call makes many.
 */

import { execFileSync } from "node:child_process";
import { constants, openSync, unlinkSync } from "node:fs";
import { Socket } from "node:net";

const BATCH = 32;

/** One pipe, both ends open. */
export interface OutputPipe {
  readonly path: string;
  /** Where the workload writes. To be closed here once it has been handed on, or the end of file never comes. */
  readonly writeEnd: number;
  readonly readEnd: Socket;
}

export interface OutputPipes {
  open(): OutputPipe;
  /** Gives a pipe back that has been read to its end; one that somebody may still hold is thrown away instead. */
  release(pipe: OutputPipe, isAtEnd: boolean): void;
}

/** Pipes in a directory that is ours alone. */
export function openOutputPipes(directory: string): OutputPipes {
  const free: string[] = [];
  let made = 0;
  const make = () => {
    const paths = Array.from({ length: BATCH }, () => `${directory}/${made++}`);
    execFileSync("mkfifo", ["-m", "600", ...paths]);
    free.push(...paths);
  };
  return {
    open: () => {
      if (free.length === 0) make();
      const path = free.pop() as string;
      // The reader comes first: without one, opening for writing would wait for it.
      const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const writeEnd = openSync(path, constants.O_WRONLY);
      return { path, writeEnd, readEnd: new Socket({ fd: readEnd, readable: true, writable: false }) };
    },
    release: ({ path, readEnd }, isAtEnd) => {
      readEnd.destroy();
      if (isAtEnd) free.push(path);
      else unlinkSync(path);
    },
  };
}
