/**
 * Inputs and results: JSON values of at most 256 KiB. What JSON leaves out (a field that is undefined, a class) is left out here, so
 * that both ends see the same value, and what the platform would refuse is refused before it is sent.
 */

/** Of the JSON text in UTF-8. */
export const maxPayloadBytes = 256 * 1024;
/** Lists and objects in each other: protobuf readers give up at 100 messages, and a level is up to three of them. */
export const maxPayloadDepth = 24;

interface Payload {
  /** Undefined if there is none. */
  readonly value: unknown;
  /** About the bytes of it on the wire; never less. */
  readonly weight: number;
  /** Why it cannot be sent; null if it can. */
  readonly problem: string | null;
}

const nothing: Payload = { value: undefined, weight: 0, problem: null };

export function payloadOf(given: unknown, maxBytes = maxPayloadBytes): Payload {
  if (given === undefined) return nothing;
  let json: string | undefined;
  try {
    json = JSON.stringify(given);
  } catch (error) {
    return { ...nothing, problem: `is no JSON: ${error instanceof Error ? error.message : error}` };
  }
  if (json === undefined) return { ...nothing, problem: `is no JSON: it is a ${typeof given}` };
  // A UTF-16 unit is one to three bytes, so that most need not be counted.
  if (json.length * 3 > maxBytes) {
    const bytes = Buffer.byteLength(json);
    if (bytes > maxBytes) {
      return { ...nothing, problem: `has ${bytes} bytes as JSON; the limit is ${maxBytes}` };
    }
  }
  const value: unknown = JSON.parse(json);
  const weight = weigh(value, 0);
  if (weight === Number.POSITIVE_INFINITY) {
    return { ...nothing, problem: `has more than ${maxPayloadDepth} levels of lists and objects` };
  }
  return { value, weight, problem: null };
}

/** Infinite if it is too deep. */
function weigh(value: unknown, depth: number): number {
  if (typeof value === "string") return 8 + 3 * value.length;
  if (typeof value !== "object" || value === null) return 11;
  if (depth === maxPayloadDepth) return Number.POSITIVE_INFINITY;
  let weight = 16;
  if (Array.isArray(value)) {
    for (const each of value) weight += 4 + weigh(each, depth + 1);
    return weight;
  }
  for (const [key, each] of Object.entries(value)) weight += 16 + 3 * key.length + weigh(each, depth + 1);
  return weight;
}
