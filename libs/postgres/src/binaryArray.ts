/**
 * Arrays in the binary format of Postgres (array_recv in its sources): a head, and for each element its length and its bytes.
 * Nothing has to be quoted by us nor parsed by the server. Of a type that is not here, or a value that does not fit it, the answer is
 * null, and the array is written as text.
 */

import { isUuid } from "./uuid.ts";

/** How an element is written: `size` answers its bytes (null if it cannot be written), `write` puts them where they belong. */
interface ElementType {
  readonly oid: number;
  size(value: unknown): number | null;
  write(to: Buffer, value: never, at: number): void;
}

const text = (oid: number, prefix: readonly number[] = []): ElementType => ({
  oid,
  size: (value) => (typeof value === "string" ? Buffer.byteLength(value) + prefix.length : null),
  write(to, value: string, at) {
    for (const [index, byte] of prefix.entries()) to[at + index] = byte;
    to.write(value, at + prefix.length);
  },
});

const fixed = (oid: number, bytes: number, isOne: (value: unknown) => boolean, write: ElementType["write"]) => ({
  oid,
  size: (value: unknown) => (isOne(value) ? bytes : null),
  write,
});

const isSafe = (value: unknown) => Number.isSafeInteger(value);
const isInt = (value: unknown) => isSafe(value) && Math.abs(value as number) < 2 ** 31;
const isTime = (value: unknown) => value instanceof Date && !Number.isNaN(value.getTime());
const isNumber = (value: unknown) => typeof value === "number";
const isBoolean = (value: unknown) => typeof value === "boolean";

/** Times are counted in microseconds from 2000. */
const epochMs = Date.UTC(2000, 0, 1);

const types: Readonly<Record<string, ElementType>> = {
  uuid: fixed(2950, 16, isUuid, writeUuid),
  text: text(25),
  json: text(114),
  jsonb: text(3802, [1]),
  bytea: {
    oid: 17,
    size: (value) => (value instanceof Uint8Array ? value.length : null),
    write: (to, value: Uint8Array, at) => to.set(value, at),
  },
  int: fixed(23, 4, isInt, (to, value: number, at) => to.writeInt32BE(value, at)),
  bigint: fixed(20, 8, isSafe, writeInt64),
  float8: fixed(701, 8, isNumber, (to, value: number, at) => to.writeDoubleBE(value, at)),
  bool: fixed(16, 1, isBoolean, (to, value: boolean, at) => to.writeUInt8(value ? 1 : 0, at)),
  boolean: fixed(16, 1, isBoolean, (to, value: boolean, at) => to.writeUInt8(value ? 1 : 0, at)),
  timestamptz: fixed(1184, 8, isTime, (to, value: Date, at) => writeInt64(to, (value.getTime() - epochMs) * 1_000, at)),
};

/** The array as `type[]`; null if it has to be written as text. */
export function binaryArray(type: string, values: readonly unknown[]): Buffer | null {
  const element = Object.hasOwn(types, type) ? types[type] : undefined;
  if (element === undefined || values.length === 0) return null;
  const sizes = new Int32Array(values.length);
  let bytes = 20;
  let hasNull = 0;
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index];
    const isNull = value === null || value === undefined;
    const size = isNull ? -1 : element.size(value);
    if (size === null) return null;
    if (isNull) hasNull = 1;
    sizes[index] = size;
    bytes += 4 + Math.max(0, size);
  }
  const array = Buffer.allocUnsafe(bytes);
  array.writeInt32BE(1, 0); // dimensions
  array.writeInt32BE(hasNull, 4);
  array.writeInt32BE(element.oid, 8);
  array.writeInt32BE(values.length, 12);
  array.writeInt32BE(1, 16); // the first index
  let at = 20;
  for (let index = 0; index < values.length; index += 1) {
    const size = sizes[index] ?? -1;
    at = array.writeInt32BE(size, at);
    if (size < 0) continue;
    element.write(array, values[index] as never, at);
    at += size;
  }
  return array;
}

function writeUuid(to: Buffer, value: string, at: number): void {
  let place = at;
  for (let index = 0; index < 36; index += 2) {
    if (value.charCodeAt(index) === 45) index += 1; // the hyphen
    to[place] = (digit(value.charCodeAt(index)) << 4) | digit(value.charCodeAt(index + 1));
    place += 1;
  }
}

function digit(code: number): number {
  return code < 58 ? code - 48 : (code | 32) - 87;
}

function writeInt64(to: Buffer, value: number, at: number): void {
  to.writeInt32BE(Math.floor(value / 2 ** 32), at);
  to.writeUInt32BE(((value % 2 ** 32) + 2 ** 32) % 2 ** 32, at + 4);
}
