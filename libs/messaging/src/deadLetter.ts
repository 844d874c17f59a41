/** Dead letters: facts set aside because handling them cannot succeed as things are, kept whole, with a way back. */
import { type Db, uuidv5 } from "@capstan/postgres";
import { decodeParts } from "./cloudEvent.ts";
import type { ReceivedFact } from "./receivedFact.ts";

/** A fact that was set aside and waits. */
export interface DeadLetter {
  readonly id: string;
  readonly stream: string;
  readonly streamSequence: number;
  readonly subject: string;
  /** Why the last attempt failed. */
  readonly error: string;
  readonly deliveries: number;
  readonly createTime: Date;
  /** Where a list goes on after it. */
  readonly cursor: readonly string[];
}

/** A message as it goes into the table. */
interface UndeliverableMessage {
  readonly durable: string;
  readonly stream: string;
  readonly streamSequence: number;
  readonly subject: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly data: Uint8Array;
  readonly deliveries: number;
}

/** Keeps the message; the same one again changes nothing, so that it may be done again after a crash. */
export async function insertDeadLetter(db: Db, message: UndeliverableMessage, error: unknown): Promise<void> {
  const fact = message.headers.get("ce-id") ?? `${message.stream}/${message.streamSequence}`;
  await db.query(
    `insert into dead_letter (id, stream, stream_sequence, subject, headers, data, error, deliveries)
     values ($1, $2, $3, $4, $5, $6, $7, $8)
     on conflict do nothing`,
    [
      uuidv5(`dead_letter/${message.durable}/${fact}`),
      message.stream,
      message.streamSequence,
      message.subject,
      JSON.stringify(Object.fromEntries(message.headers)),
      Buffer.from(message.data),
      error instanceof Error ? `${error.name}: ${error.message}` : String(error),
      message.deliveries,
    ],
  );
}

interface DeadLetterRow {
  readonly id: string;
  readonly stream: string;
  readonly stream_sequence: number;
  readonly subject: string;
  readonly headers: Record<string, string>;
  readonly data: Buffer;
  readonly error: string;
  readonly deliveries: number;
  readonly create_time: Date;
  readonly cursor_time: string;
}

/** Those that wait, oldest first, after the given cursor; null for the first page. What was handled after all is not among them. */
export async function listDeadLetters(
  db: Db,
  limit: number,
  cursor: readonly string[] | null,
): Promise<readonly DeadLetter[]> {
  const { rows } = await db.query<DeadLetterRow>(
    `select id, stream, stream_sequence, subject, error, deliveries, create_time, create_time::text as cursor_time
       from dead_letter
      where resolve_time is null and ($2::timestamptz is null or (create_time, id) > ($2::timestamptz, $3::uuid))
      order by create_time, id
      limit $1`,
    [limit, cursor?.[0] ?? null, cursor?.[1] ?? null],
  );
  return rows.map((row) => ({
    id: row.id,
    stream: row.stream,
    streamSequence: row.stream_sequence,
    subject: row.subject,
    error: row.error,
    deliveries: row.deliveries,
    createTime: row.create_time,
    cursor: [row.cursor_time, row.id],
  }));
}

/**
 * The way back: handles dead letters again, oldest first, and gives back the ids of those that succeeded. One that fails again
 * stays, with its new error.
 */
export async function replayDeadLetters(
  db: Db,
  ids: readonly string[],
  handle: (facts: readonly ReceivedFact[]) => Promise<void>,
): Promise<readonly string[]> {
  const { rows } = await db.query<DeadLetterRow>(
    `select * from dead_letter where id = any($1::uuid[]) and resolve_time is null order by create_time, stream_sequence`,
    [ids],
  );
  const resolved: string[] = [];
  for (const row of rows) {
    const delivery = { stream: row.stream, streamSequence: row.stream_sequence, deliveries: row.deliveries };
    try {
      await handle([decodeParts(new Map(Object.entries(row.headers)), row.data, delivery)]);
      await db.query("update dead_letter set resolve_time = clock_timestamp() where id = $1", [row.id]);
      resolved.push(row.id);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      await db.query("update dead_letter set error = $2 where id = $1", [row.id, text]);
    }
  }
  return resolved;
}
