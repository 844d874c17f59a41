/**
 * One execution as the process backend sees it: what the spawner says about it becomes a {@link Running} and its output.
 */

import {
  type BackendLost,
  BackendUnavailable,
  type Exit,
  type OutputSink,
  type OutputStream,
  type Running,
  StartRefused,
} from "./backend.ts";
import * as frames from "./spawnerFrames.ts";

export interface Tracked {
  /** Settles with the spawner's answer to START; rejects as {@link Backend.start} does. */
  readonly started: Promise<Running>;
  /** A frame with this execution's number; the body is good only during the call. */
  receive(kind: number, body: Buffer): void;
  /** Its spawner is gone and nothing of it is left. */
  lose(reason: BackendLost): void;
}

/** Follows one execution; `onOver` is called when the spawner will say nothing more of it. */
export function trackExecution(
  number: number,
  sink: OutputSink,
  send: (frame: readonly Uint8Array[]) => void,
  onOver: () => void,
): Tracked {
  const started = Promise.withResolvers<Running>();
  const exited = Promise.withResolvers<Exit>();
  exited.promise.catch(() => {}); // whoever waits for it is told; nobody has to
  const output = startOutput(sink, (bytes) => send(frames.numberFrame(frames.ACKNOWLEDGE, number, bytes)));

  const running = (ref: string, startTime: Date): Running => ({
    ref,
    startTime,
    exited: exited.promise,
    stop: async (graceMs) => {
      send(frames.numberFrame(frames.STOP, number, graceMs));
      await exited.promise.catch(() => {}); // lost is gone too
    },
  });
  const fail = (error: Error) => {
    onOver();
    started.reject(error);
  };
  return {
    started: started.promise,
    receive: (kind, body) => {
      if (kind === frames.STDOUT) return output.push("stdout", body);
      if (kind === frames.STDERR) return output.push("stderr", body);
      const message = JSON.parse(body.toString());
      if (kind === frames.STARTED) {
        const { pid, startTime } = message as frames.StartedBody;
        started.resolve(running(`pid:${pid}`, new Date(startTime)));
      } else if (kind === frames.EXITED) {
        const { exitCode, signal, endTime } = message as frames.ExitedBody;
        onOver();
        const exit = { exitCode, signal, outOfMemory: false, endTime: new Date(endTime) };
        output.whenDelivered(() => exited.resolve(exit));
      } else if (kind === frames.REFUSED) {
        const { reason, message: why } = message as frames.RefusedBody;
        fail(new StartRefused(reason, why));
      } else if (kind === frames.UNAVAILABLE) {
        fail(new BackendUnavailable((message as frames.UnavailableBody).message));
      }
    },
    lose: (reason) => {
      // Not told whether it started, we must not say "try again": it may have run.
      started.resolve(running("pid:unknown", new Date()));
      output.whenDelivered(() => exited.reject(reason));
    },
  };
}

/** Hands output to the sink in order, one call at a time, and tells how many bytes were consumed, a few times per window. */
function startOutput(sink: OutputSink, acknowledge: (bytes: number) => void) {
  let delivered: Promise<void> | null = null; // null: everything so far
  let consumed = 0;

  const onConsumed = (bytes: number) => {
    consumed += bytes;
    if (consumed < frames.OUTPUT_WINDOW / 2) return;
    acknowledge(consumed);
    consumed = 0;
  };
  const deliver = (stream: OutputStream, bytes: Uint8Array): Promise<void> | null => {
    const wait = write(sink, stream, bytes);
    if (wait === null) {
      onConsumed(bytes.length);
      return null;
    }
    return wait.then(() => onConsumed(bytes.length));
  };
  return {
    push: (stream: OutputStream, view: Buffer) => {
      const bytes = Uint8Array.from(view);
      const next =
        delivered === null ? deliver(stream, bytes) : delivered.then(() => deliver(stream, bytes) ?? undefined);
      delivered = next;
      next?.then(() => {
        if (delivered === next) delivered = null;
      });
    },
    whenDelivered: (then: () => void) => {
      if (delivered === null) then();
      else void delivered.then(then);
    },
  };
}

/** Null when the sink took it at once. A sink that fails has lost these bytes, and knows. */
function write(sink: OutputSink, stream: OutputStream, bytes: Uint8Array): Promise<void> | null {
  try {
    return sink.write(stream, bytes)?.catch(() => {}) ?? null;
  } catch {
    return null;
  }
}
