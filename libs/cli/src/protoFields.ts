/**
 * The kinds of fields that the proto JSON mapping knows, each read strictly. The generated `fromJSON` is not strict: it turns a
 * misspelt field into nothing and a number into text.
 *
 * What is read comes from a YAML parser that gives maps as `Map`, so that no key is ever looked up on a prototype.
 */
import { Duration } from "@capstan/proto/google/protobuf/duration.ts";
import { suggest } from "./suggestion.ts";

/** Takes note of a bad field, by its path in proto names. Reading goes on, so that all of them are found. */
export type Report = (field: string, description: string) => void;

export interface Kind<T> {
  /** The value when the field is absent or null. */
  readonly empty: () => T;
  /** Gives `empty` for what is not of this kind, after reporting it. */
  readonly read: (value: unknown, path: string, report: Report) => T;
}

/** A kind per field of a message; the compiler sees to it that none is forgotten when a contract grows. */
export type Fields<M> = { readonly [K in keyof M]-?: Kind<M[K]> };

/** What a value is, in the words of the file's author. */
function describe(value: unknown): string {
  if (value instanceof Map) return "a map";
  if (Array.isArray(value)) return "a list";
  if (value instanceof Uint8Array) return "binary data";
  if (value === null) return "null";
  const written = JSON.stringify(value) ?? String(value);
  const shown = written.length > 60 ? `${written.slice(0, 60)}…` : written;
  return `the ${typeof value === "string" ? "text" : typeof value} ${shown}`;
}

export const text: Kind<string> = {
  empty: () => "",
  read(value, path, report) {
    if (typeof value === "string") return value;
    const isBare = typeof value === "number" || typeof value === "boolean";
    report(path, `must be text, not ${describe(value)}${isBare ? `; put it in quotes: "${value}"` : ""}`);
    return "";
  },
};

function number(isValid: (value: number) => boolean, expected: string): Kind<number> {
  return {
    empty: () => 0,
    read(value, path, report) {
      // The mapping allows numbers as text, for languages that cannot hold them otherwise.
      const parsed = typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
      if (typeof parsed === "number" && isValid(parsed)) return parsed;
      report(path, `must be ${expected}, not ${describe(value)}`);
      return 0;
    },
  };
}

export const int32 = number((value) => value === (value | 0), "a whole number of at most 2147483647");
export const double = number(Number.isFinite, "a number");

/** A number that may be left out, which is not 0. */
export const optionalDouble: Kind<number | undefined> = { ...double, empty: () => undefined };

export const flag: Kind<boolean> = {
  empty: () => false,
  read(value, path, report) {
    if (typeof value === "boolean") return value;
    report(path, `must be true or false, not ${describe(value)}`);
    return false;
  },
};

export const bytes: Kind<Buffer> = {
  empty: () => Buffer.alloc(0),
  read(value, path, report) {
    if (typeof value === "string" && /^[\w+/-]*={0,2}$/.test(value)) return Buffer.from(value, "base64");
    report(path, `must be base64 text, not ${describe(value)}`);
    return Buffer.alloc(0);
  },
};

export const duration: Kind<Duration | undefined> = {
  empty: () => undefined,
  read(value, path, report) {
    if (typeof value === "string" && /^-?\d{1,12}(\.\d{1,9})?s$/.test(value)) return Duration.fromJSON(value);
    report(path, `must be a number of seconds with an s, such as "90s" or "0.5s", not ${describe(value)}`);
    return undefined;
  },
};

export const timestamp: Kind<Date | undefined> = {
  empty: () => undefined,
  read(value, path, report) {
    const isRfc3339 =
      typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/.test(value);
    const time = isRfc3339 ? new Date(value) : null;
    if (time !== null && !Number.isNaN(time.getTime())) return time;
    report(path, `must be a time such as "2026-12-24T18:00:00Z", not ${describe(value)}`);
    return undefined;
  },
};

/** One of an enum's proto names. The first is the one that means "not given". */
export function choice<E extends string>(values: Readonly<Record<string, E>>): Kind<E> {
  const names = Object.values(values).filter((name) => name !== "UNRECOGNIZED");
  const [unspecified] = names;
  if (unspecified === undefined) throw new Error("an enum has at least one value");
  return {
    empty: () => unspecified,
    read(value, path, report) {
      // A number stands for a value too in the mapping; ours are numbered from 0 without a gap, in the order of the contract.
      const found = typeof value === "number" ? names[value] : names.find((name) => name === value);
      if (found !== undefined) return found;
      const near = typeof value === "string" ? suggest(value, names) : null;
      const hint = near === null ? `one of ${names.slice(1).join(", ")}` : `did you mean ${near}?`;
      report(path, `is ${describe(value)}, which is not a value of it; ${hint}`);
      return unspecified;
    },
  };
}

export function listOf<T>(item: Kind<T>): Kind<T[]> {
  return {
    empty: () => [],
    read(value, path, report) {
      if (Array.isArray(value)) return value.map((entry, index) => item.read(entry, `${path}[${index}]`, report));
      report(path, `must be a list, not ${describe(value)}`);
      return [];
    },
  };
}

/** Text by text, such as labels. */
export const textMap: Kind<{ [key: string]: string }> = {
  empty: () => ({}),
  read(value, path, report) {
    if (!(value instanceof Map)) {
      report(path, `must be a map, not ${describe(value)}`);
      return {};
    }
    const entries: [string, string][] = [];
    for (const [key, entry] of value) {
      const keyPath = `${path}[${JSON.stringify(key)}]`;
      if (typeof key !== "string") report(keyPath, `has a key that is not text; put it in quotes: "${key}"`);
      // Code that assigns entries to a plain object, some of it generated, would lose this key without a word.
      else if (key === "__proto__") report(keyPath, "cannot be used as a key");
      else entries.push([key, text.read(entry, keyPath, report)]);
    }
    return Object.fromEntries(entries);
  },
};

/** Any value that JSON knows; null is as good as absent. */
export const json: Kind<unknown> = { empty: () => undefined, read: readJson };

/** A list of values that JSON knows. */
export const jsonList: Kind<unknown[] | undefined> = {
  empty: () => undefined,
  read(value, path, report) {
    if (Array.isArray(value)) return readJson(value, path, report) as unknown[];
    report(path, `must be a list, not ${describe(value)}`);
    return undefined;
  },
};

/** Values that JSON knows, by name. */
export const jsonMap: Kind<{ [key: string]: unknown } | undefined> = {
  empty: () => undefined,
  read(value, path, report) {
    if (value instanceof Map) return readJson(value, path, report) as { [key: string]: unknown };
    report(path, `must be a map, not ${describe(value)}`);
    return undefined;
  },
};

function readJson(value: unknown, path: string, report: Report): unknown {
  if (Array.isArray(value)) return value.map((entry, index) => readJson(entry, `${path}[${index}]`, report));
  if (value instanceof Map) return readObject(value, path, report);
  const isPlain = value === null || typeof value === "string" || typeof value === "boolean" || Number.isFinite(value);
  if (isPlain) return value;
  report(path, `must be a value that JSON knows, not ${describe(value)}`);
  return null;
}

function readObject(map: ReadonlyMap<unknown, unknown>, path: string, report: Report): object {
  const entries = [...map].map(([key, entry]): [string, unknown] => {
    const keyPath = `${path}[${JSON.stringify(key)}]`;
    if (typeof key !== "string") report(keyPath, `has a key that is not text; put it in quotes: "${key}"`);
    else if (key === "__proto__") report(keyPath, "cannot be used as a key");
    return [String(key), readJson(entry, keyPath, report)];
  });
  return Object.fromEntries(entries);
}
