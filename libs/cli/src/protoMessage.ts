/** Messages in the proto JSON mapping: a field may be written `runTimeout` or `run_timeout`, and no other name is accepted. */
import type { Fields, Kind, Report } from "./protoFields.ts";
import { suggest } from "./suggestion.ts";

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Reports what a key that names no field may have meant. */
function reportUnknown(key: unknown, path: string, names: readonly string[], report: Report): void {
  const near = typeof key === "string" ? suggest(key, names) : null;
  const hint = near === null ? `known here: ${names.join(", ")}` : `did you mean ${near}?`;
  report(join(path, String(key)), `is not a field; ${hint}`);
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

/** A message that is always there, such as an item of a list. */
export function message<M extends object>(fields: Fields<M>): Kind<M> {
  const names = Object.keys(fields) as (keyof M & string)[];
  const known = new Map(names.flatMap((name) => [[name, name] as const, [snakeCase(name), name] as const]));

  /** Which value of the file belongs to which field; reports what belongs to none, or twice to one. */
  function valuesByName(value: Map<unknown, unknown>, path: string, report: Report): Map<keyof M, unknown> {
    const values = new Map<keyof M, unknown>();
    for (const [key, entry] of value) {
      const name = known.get(key as string);
      if (name === undefined) reportUnknown(key, path, names.map(snakeCase), report);
      else if (values.has(name)) report(join(path, snakeCase(name)), "is given twice, in both spellings");
      else values.set(name, entry);
    }
    return values;
  }

  function read(value: unknown, path: string, report: Report): M {
    const isMap = value instanceof Map;
    if (!isMap) report(path === "" ? "(whole document)" : path, "must be a map of fields");
    const values = isMap ? valuesByName(value, path, report) : new Map<keyof M, unknown>();
    const entries = names.map((name) => {
      const [kind, entry] = [fields[name], values.get(name) ?? null];
      return [name, entry === null ? kind.empty() : kind.read(entry, join(path, snakeCase(name)), report)];
    });
    return Object.fromEntries(entries) as M;
  }

  return {
    empty: () => Object.fromEntries(names.map((name) => [name, fields[name].empty()])) as M,
    read,
  };
}

/** A message that may be absent. */
export function optional<M extends object>(kind: Kind<M>): Kind<M | undefined> {
  return { empty: () => undefined, read: kind.read };
}
