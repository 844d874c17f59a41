/** The socket of a client: what is written in one turn of the event loop leaves together, and how long it has taken nothing is known. */
import type { Socket } from "node:net";
import type { Wire } from "./liveOutlet.ts";

interface SocketWire extends Wire {
  /** Since when the client has read nothing though there was something to read, in milliseconds since 1970; null if it reads. */
  stuckSince(): number | null;
  close(): void;
}

/** `write` is the protocol's; `onDrain` is called when the socket takes more. */
export function createSocketWire(
  socket: Socket,
  write: (frame: Buffer | string) => void,
  onDrain: () => void,
): SocketWire {
  let isCorked = false;
  let fullSince: number | null = null;
  let readBefore = 0;

  function uncork(): void {
    isCorked = false;
    socket.uncork();
  }

  function drained(): void {
    fullSince = null;
    onDrain();
  }

  socket.on("drain", drained);
  return {
    isFull() {
      if (!socket.writableNeedDrain) return false;
      fullSince ??= Date.now();
      return true;
    },
    write(frame) {
      if (socket.destroyed) return;
      if (!isCorked) {
        isCorked = true;
        socket.cork();
        process.nextTick(uncork);
      }
      write(frame);
    },
    stuckSince() {
      // A slow client reads a little: then it is not stuck.
      const read = socket.bytesWritten - socket.writableLength;
      if (fullSince !== null && read > readBefore) fullSince = Date.now();
      readBefore = read;
      return fullSince;
    },
    close: () => void socket.off("drain", drained),
  };
}
