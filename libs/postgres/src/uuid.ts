/** Identifiers: version 7 where we make them, so that indexes append; version 5 where a command must be repeatable. RFC 9562. */
import { createHash, randomFillSync } from "node:crypto";

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const randomBytes = new Uint8Array(8 * 512);
let randomAt = randomBytes.length;
let lastMs = 0;
let counter = 0;

const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Whether Postgres takes it as a uuid in the usual notation, of any version and case. */
export function isUuid(value: unknown): boolean {
  return typeof value === "string" && pattern.test(value);
}

/** Time ordered; within this process each one is greater than the one before, even when the clock is set back. */
export function uuidv7(): string {
  if (randomAt === randomBytes.length) {
    randomFillSync(randomBytes);
    randomAt = 0;
  }
  const at = randomAt;
  randomAt += 8;
  const now = Date.now();
  if (now > lastMs) {
    lastMs = now;
    counter = 0;
  } else if (++counter > 0xfff) {
    lastMs += 1;
    counter = 0;
  }
  if (counter === 0) timeText = textOf(lastMs);
  const variant = 0x80 | (byteAt(at) & 0x3f);
  return (
    `${timeText}-${hex[0x70 | (counter >> 8)]}${hex[counter & 0xff]}-${hex[variant]}${random(at + 1)}-` +
    `${random(at + 2)}${random(at + 3)}${random(at + 4)}${random(at + 5)}${random(at + 6)}${random(at + 7)}`
  );
}

let timeText = "";

/** The first 48 bits; the same for all that are made in one millisecond. */
function textOf(ms: number): string {
  const text = ms.toString(16).padStart(12, "0");
  return `${text.slice(0, 8)}-${text.slice(8)}`;
}

const byteAt = (at: number) => randomBytes[at] ?? 0;
const random = (at: number) => hex[byteAt(at)];

/** Capstan's own namespace; another one would make other ids of the same names. */
const namespace = Buffer.from("6f1c2d1a7a4b4d0e9a35c1f7a2b0e5d4", "hex");

/** The same name gives the same id, anywhere and for ever. */
export function uuidv5(name: string): string {
  const hash = createHash("sha1").update(namespace).update(name).digest().subarray(0, 16);
  hash[6] = 0x50 | ((hash[6] ?? 0) & 0x0f);
  hash[8] = 0x80 | ((hash[8] ?? 0) & 0x3f);
  const text = hash.toString("hex");
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join("-");
}
