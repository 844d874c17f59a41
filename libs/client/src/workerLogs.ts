/** Lines of logs that wait to be sent; bounded, because a connection may be slow or away while a handler goes on to log. */
import type { WorkerLog } from "@capstan/proto/capstan/execution/v1/worker_service.ts";

/** The contract's limit of one message. */
const maxMessageBytes = 256 * 1024;
/** Of all executions together. */
const maxWaitingBytes = 8 * 1024 * 1024;
/** What a buffer takes beside its bytes, about: with short lines most of the memory. */
const pieceBytes = 100;

interface Waiting {
  pieces: Buffer[];
  /** The memory they take. */
  bytes: number;
  droppedLines: number;
}

interface LogBuffer {
  add(executionId: string, text: string): void;
  /** As much as one message holds. */
  take(): WorkerLog[];
  has(executionId: string): boolean;
  drop(executionId: string): void;
  readonly isWaiting: boolean;
}

export function createLogBuffer(): LogBuffer {
  const waiting = new Map<string, Waiting>();
  let bytes = 0;

  function takePiece(of: Waiting, room: number): Buffer {
    const all = of.pieces.length === 1 ? (of.pieces[0] as Buffer) : Buffer.concat(of.pieces);
    const piece = all.subarray(0, room);
    of.pieces = piece.length === all.length ? [] : [all.subarray(room)];
    const left = of.pieces.length === 0 ? 0 : all.length - piece.length + pieceBytes;
    bytes -= of.bytes - left;
    of.bytes = left;
    return piece;
  }

  return {
    get isWaiting() {
      return waiting.size > 0;
    },
    has: (executionId) => waiting.has(executionId),
    add(executionId, text) {
      const of = waiting.get(executionId) ?? { pieces: [], bytes: 0, droppedLines: 0 };
      waiting.set(executionId, of);
      const line = Buffer.from(text.endsWith("\n") ? text : `${text}\n`);
      const more = line.length + pieceBytes;
      if (bytes + more > maxWaitingBytes) {
        of.droppedLines += 1;
        return;
      }
      of.pieces.push(line);
      of.bytes += more;
      bytes += more;
    },
    take() {
      const taken: WorkerLog[] = [];
      let room = maxMessageBytes;
      for (const [executionId, of] of waiting) {
        if (of.pieces.length > 0) {
          const data = takePiece(of, room);
          room -= data.length;
          taken.push({ executionId, data });
        }
        if (of.pieces.length > 0 || room < 100) break;
        if (of.droppedLines > 0) {
          const data = Buffer.from(
            `(${of.droppedLines} lines were dropped: they came faster than they could be sent)\n`,
          );
          room -= data.length;
          taken.push({ executionId, data });
        }
        waiting.delete(executionId);
      }
      return taken;
    },
    drop(executionId) {
      bytes -= waiting.get(executionId)?.bytes ?? 0;
      waiting.delete(executionId);
    },
  };
}
