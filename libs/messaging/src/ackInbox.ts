/**
 * Where JetStream's acknowledgements arrive: one subscription for all publishes of a connection, a number for each. The client's
 * own request does the same with a race, a timer and a trace for each message.
 */
import { failpoints } from "@capstan/failpoints";
import { createInbox, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node";

/** Null: stored. Otherwise why not, or that nobody knows; `noStream` when nothing takes the subject. */
export type PublishFailure = string | null;

export const noStream = "no stream takes the subject";
export const connectionLost = "connection was lost";

export interface AckInbox {
  /** Publishes now; answers when the broker does, or when `giveUp` is called, or when the connection is lost. */
  publish(subject: string, body: Uint8Array, headers: MsgHdrs): Promise<PublishFailure>;
  /** Answers all who wait; what they published may be stored or not. */
  giveUp(reason: string): void;
  /** The stream may count from anywhere: it is another one, or what it has lost is known. */
  countAnew(): void;
}

/**
 * `onBackwards` is called when the stream gives out a number that it had given out before, with the last number that it still had then: it
 * has lost what came after. Acknowledgements of one connection come in the order of their numbers.
 */
export function openAckInbox(nc: NatsConnection, context: string, onBackwards: (lastKept: number) => void): AckInbox {
  const prefix = createInbox();
  const waiting = new Map<number, (failure: PublishFailure) => void>();
  let last = 0;
  let highest = 0;

  function noteSequence(sequence: number, count: number): void {
    if (sequence <= highest) onBackwards(sequence - count);
    highest = sequence;
  }

  nc.subscribe(`${prefix}.*`, {
    callback: (error, message) => {
      if (error !== null) return; // only when the connection ends, and then nobody waits any more
      const token = Number(message.subject.slice(prefix.length + 1));
      const answer = waiting.get(token);
      waiting.delete(token);
      answer?.(readAck(message.data, () => message.headers?.code ?? 0, noteSequence));
    },
  });

  function giveUp(reason: string): void {
    const unanswered = [...waiting.values()];
    waiting.clear();
    for (const answer of unanswered) answer(reason);
  }

  async function giveUpOnDisconnect(): Promise<void> {
    for await (const { type } of nc.status()) if (type === "disconnect") giveUp(connectionLost);
  }

  void giveUpOnDisconnect();
  const publish: AckInbox["publish"] = (subject, body, headers) =>
    new Promise((resolve) => {
      const token = ++last;
      nc.publish(subject, body, { reply: `${prefix}.${token}`, headers });
      waiting.set(token, resolve);
    });
  const countAnew = () => {
    highest = 0;
  };
  if (failpoints === null) return { publish, giveUp, countAnew };
  const { around } = failpoints;
  const hang = () => new Promise<PublishFailure>((resolve) => waiting.set(++last, resolve)); // as if it was never answered
  return {
    publish: (...message) => around("publish", context, () => publish(...message), { hang }),
    giveUp,
    countAnew,
  };
}

/** `{"stream":"CAPSTAN_JOB","seq":1}`, with a count for a batch, or `{"error":{…}}`, or nothing but a status in the headers. */
function readAck(
  data: Uint8Array,
  status: () => number,
  noteSequence: (sequence: number, count: number) => void,
): PublishFailure {
  if (data.length === 0) return status() === 503 ? noStream : `status ${status()}`;
  const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString();
  if (text.startsWith('{"stream"')) {
    const sequence = Number(/"seq": ?(\d+)/.exec(text)?.[1] ?? 0);
    // A repetition is answered with the number it got the first time.
    if (sequence > 0 && !text.includes('"duplicate"'))
      noteSequence(sequence, Number(/"count": ?(\d+)/.exec(text)?.[1] ?? 1));
    return null;
  }
  const { error } = JSON.parse(text) as { error?: { description?: string } };
  return error === undefined ? null : (error.description ?? "refused");
}
