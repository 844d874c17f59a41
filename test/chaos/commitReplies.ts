/**
 * Finds, in what a Postgres server sends, the replies that tell that something was committed: a COMMIT, or a statement that wrote
 * and was a transaction by itself. Reads the framing of protocol 3.0 only: a type byte, a length that counts itself, a body.
 */

const headerBytes = 5;
const commandComplete = "C".charCodeAt(0);
const readyForQuery = "Z".charCodeAt(0);
const idle = "I".charCodeAt(0);
const keptBytes = 32;

export interface CommitReplies {
  /** True when the end of such a reply is in this chunk. */
  read(chunk: Buffer): boolean;
}

/** For one connection, from its first byte on. The server answers a request for TLS, if there is one, with a bare byte. */
export function findCommitReplies(): CommitReplies {
  const header = Buffer.alloc(headerBytes);
  let headerFilled = 0;
  let left = 0;
  let body = Buffer.alloc(0);
  let hasWritten = false;
  let isFirst = true;

  /** A message is over: does it tell of a commit? */
  function judge(): boolean {
    if (header[0] === commandComplete)
      hasWritten ||= /^(COMMIT|INSERT|UPDATE|DELETE|MERGE)/.test(body.toString("latin1"));
    if (header[0] !== readyForQuery || body[0] !== idle) return false;
    const committed = hasWritten;
    hasWritten = false;
    return committed;
  }

  function read(chunk: Buffer): boolean {
    let found = false;
    let at = 0;
    if (isFirst && chunk.length === 1 && (chunk[0] === 0x4e || chunk[0] === 0x53)) return false; // N or S: about TLS
    isFirst = false;
    while (at < chunk.length) {
      if (headerFilled < headerBytes) {
        const taken = chunk.copy(header, headerFilled, at, at + headerBytes - headerFilled);
        headerFilled += taken;
        at += taken;
        if (headerFilled < headerBytes) break;
        left = header.readInt32BE(1) - 4;
        body = Buffer.alloc(0);
      }
      const part = chunk.subarray(at, at + left);
      if (body.length < keptBytes) body = Buffer.concat([body, part.subarray(0, keptBytes)]);
      at += part.length;
      left -= part.length;
      if (left > 0) break;
      headerFilled = 0;
      found = judge() || found;
    }
    return found;
  }

  return { read };
}
