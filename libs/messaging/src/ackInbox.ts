/**
 * Where JetStream's acknowledgements arrive: one subscription for all publishes of a connection, a number for each. The client's
 * own request does the same with a race, a timer and a trace for each message.
 */
import { createInbox, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node";

/** Null: stored. Otherwise why not, or that nobody knows; `noStream` when nothing takes the subject. */
export type PublishFailure = string | null;

export const noStream = "no stream takes the subject";

export interface AckInbox {
  /** Publishes now; answers when the broker does, or when `giveUp` is called, or when the connection is lost. */
  publish(subject: string, body: Uint8Array, headers: MsgHdrs): Promise<PublishFailure>;
  /** Answers all who wait; what they published may be stored or not. */
  giveUp(reason: string): void;
}

export function openAckInbox(nc: NatsConnection): AckInbox {
  const prefix = createInbox();
  const waiting = new Map<number, (failure: PublishFailure) => void>();
  let last = 0;

  nc.subscribe(`${prefix}.*`, {
    callback: (error, message) => {
      if (error !== null) return; // only when the connection ends, and then nobody waits any more
      const token = Number(message.subject.slice(prefix.length + 1));
      const answer = waiting.get(token);
      waiting.delete(token);
      answer?.(readAck(message.data, () => message.headers?.code ?? 0));
    },
  });

  function giveUp(reason: string): void {
    const unanswered = [...waiting.values()];
    waiting.clear();
    for (const answer of unanswered) answer(reason);
  }

  async function giveUpOnDisconnect(): Promise<void> {
    for await (const { type } of nc.status()) if (type === "disconnect") giveUp("connection was lost");
  }

  void giveUpOnDisconnect();
  return {
    publish: (subject, body, headers) =>
      new Promise((resolve) => {
        const token = ++last;
        nc.publish(subject, body, { reply: `${prefix}.${token}`, headers });
        waiting.set(token, resolve);
      }),
    giveUp,
  };
}

/** `{"stream":"CAPSTAN_JOB","seq":1}`, or `{"error":{…}}`, or nothing but a status in the headers. */
function readAck(data: Uint8Array, status: () => number): PublishFailure {
  if (data.length === 0) return status() === 503 ? noStream : `status ${status()}`;
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString();
  if (text.startsWith('{"stream"')) return null;
  const { error } = JSON.parse(text) as { error?: { description?: string } };
  return error === undefined ? null : (error.description ?? "refused");
}
