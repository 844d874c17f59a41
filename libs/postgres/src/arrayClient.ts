/**
 * A client that writes array parameters itself, in the binary format where it knows the type. The driver's own way copies each text
 * three times and quotes it for a parser at the other end: a quarter of all that was allocated for a job (measured: 66 of 243 KB).
 *
 * And one that sends in one packet what it is given in one turn of the event loop, such as BEGIN with the first statement.
 */
import { Client } from "pg";
import { arrayLiteral } from "./arrayLiteral.ts";
import { binaryArray } from "./binaryArray.ts";

type Query = Client["query"];

export class ArrayClient extends Client {
  override query: Query = ((first: unknown, second: unknown, ...rest: unknown[]) => {
    this.#holdUntilTurnEnds();
    const run = super.query as (...values: unknown[]) => unknown;
    if (typeof first === "string" && Array.isArray(second)) {
      return run.call(this, first, written(second, typesIn(first)), ...rest);
    }
    if (typeof first === "object" && first !== null && "values" in first && Array.isArray(first.values)) {
      const { name, text } = first as typeof first & { readonly name?: string; readonly text: string };
      const types = name === undefined ? typesIn(text) : typesOf(name, text);
      return run.call(this, { ...first, values: written(first.values, types) }, second, ...rest);
    }
    return run.call(this, first, second, ...rest);
  }) as Query;

  #isHeld = false;

  #holdUntilTurnEnds(): void {
    if (this.#isHeld) return;
    const { stream } = this.connection;
    this.#isHeld = true;
    stream.cork();
    // After the promises that are settled by now, and whatever they ask for.
    process.nextTick(() => {
      this.#isHeld = false;
      stream.uncork();
    });
  }
}

/** By the place of the parameter, from 0: what the statement casts it to the arrays of. */
type Types = readonly (string | undefined)[];

function written(values: readonly unknown[], types: Types): unknown[] {
  return values.map((value, at) =>
    Array.isArray(value) ? (binaryArray(types[at] ?? "", value) ?? arrayLiteral(value)) : value,
  );
}

const known = new Map<string, { readonly text: string; readonly types: Types }>();

function typesOf(name: string, text: string): Types {
  const found = known.get(name);
  if (found?.text === text) return found.types;
  const types = typesIn(text);
  known.set(name, { text, types });
  return types;
}

function typesIn(text: string): Types {
  const types: string[] = [];
  for (const [, place, type = ""] of text.matchAll(/\$(\d+)::(\w+)\[\]/g)) types[Number(place) - 1] = type;
  return types;
}
