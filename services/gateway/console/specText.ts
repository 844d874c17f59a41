/**
 * A job as text: YAML that is a spec, as in the files of `capstan job submit`, or a template with its parameters. The text is the
 * truth; the form beside it changes the text, with comments and order kept.
 */
import { type Document, isCollection, LineCounter, type ParsedNode, parseDocument, stringify } from "yaml";

export interface Problem {
  /** In words of the text, such as `steps[0].run_timeout`; empty if it is of the whole. */
  readonly field: string;
  readonly message: string;
  /** From 1; 0 if it has no place. */
  readonly line: number;
}

/** What is wrong with a field, or with a part of it. */
export function problemAt(problems: readonly Problem[], field: string): string | undefined {
  const isAt = (each: string) => each === field || each.startsWith(`${field}.`) || each.startsWith(`${field}[`);
  return problems.find((problem) => isAt(problem.field))?.message;
}

export interface ReadText {
  readonly doc: Document;
  /** The text as values; null if it is no YAML. */
  readonly value: Readonly<Record<string, unknown>> | null;
  readonly problems: readonly Problem[];
  lineOf(field: string): number;
}

/** Their names are the user's, not ours. */
const ownNames = new Set(["labels", "annotations", "env", "input", "parameters", "items"]);

/** The parameters that a template declares are a list of fields of ours; those that it is used with are named by the user. */
function isOwn(field: string, value: unknown): boolean {
  return ownNames.has(field) && !(field === "parameters" && Array.isArray(value));
}

function camel(name: string): string {
  return name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function snake(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Names of fields as the API takes them: `run_timeout` is `runTimeout`. What users have named stays. */
export function camelNames(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelNames);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => {
      const field = camel(name);
      return [field, isOwn(field, each) ? each : camelNames(each)];
    }),
  );
}

/** Names of fields as files have them. */
export function snakeNames(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeNames);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [snake(name), isOwn(name, each) ? each : snakeNames(each)]),
  );
}

/** What the platform fills in when nothing is said, as JSON. */
const filledIn: Readonly<Record<string, string>> = {
  interpreter: '["sh"]',
  resources: '{"slots":1}',
  startTimeout: '"300s"',
  stopGrace: '"10s"',
};

function saysNothing(field: string, value: unknown): boolean {
  if (value === null || value === "" || value === 0 || value === false) return true;
  if (typeof value === "string")
    return /^[A-Z_]+_UNSPECIFIED$/.test(value) || filledIn[field] === JSON.stringify(value);
  return typeof value === "object" && (Object.keys(value).length === 0 || filledIn[field] === JSON.stringify(value));
}

function withoutNothing(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNothing);
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).map(
    ([field, each]) => [field, isOwn(field, each) ? each : withoutNothing(each)] as const,
  );
  // An input may be 0 or false and mean it.
  return Object.fromEntries(
    fields.filter(([field, each]) => (field === "input" ? each !== null : !saysNothing(field, each))),
  );
}

/** A spec as the API gives it, as a file would have it: in its words, and without what says nothing. */
export function fileText(spec: unknown): string {
  return stringify(snakeNames(withoutNothing(spec)), { lineWidth: 0 });
}

/** `steps[0].retry` as `["steps", 0, "retry"]`. */
export function keysOf(field: string): readonly (string | number)[] {
  return [...field.matchAll(/([^.[\]]+)|\[(\d+)\]/g)].map(([, name, index]) =>
    index === undefined ? (name ?? "") : Number(index),
  );
}

function childOf(node: unknown, key: string | number): unknown {
  if (!isCollection(node)) return undefined;
  if (typeof key === "number") return node.get(key, true);
  for (const name of [key, snake(key), camel(key)]) {
    const child = node.get(name, true);
    if (child !== undefined) return child;
  }
  return undefined;
}

export function readText(text: string): ReadText {
  const counter = new LineCounter();
  const doc = parseDocument(text, { lineCounter: counter, prettyErrors: false });
  const problems = [...doc.errors, ...doc.warnings].map(({ message, pos }) => ({
    field: "",
    message,
    line: counter.linePos(pos[0]).line,
  }));
  const value: unknown = problems.length > 0 ? null : doc.toJS();
  const isMap = typeof value === "object" && value !== null && !Array.isArray(value);
  if (problems.length === 0 && !isMap) {
    problems.push({ field: "", message: "must be a map of fields, such as name and steps", line: 1 });
  }
  return {
    doc: doc as Document,
    value: isMap ? (value as Record<string, unknown>) : null,
    problems,
    lineOf(field) {
      let node: unknown = doc.contents;
      let line = 0;
      for (const key of keysOf(field)) {
        const child = childOf(node, key);
        if (child === undefined) break;
        node = child;
        const start = (child as ParsedNode | null)?.range?.[0];
        if (start !== undefined) line = counter.linePos(start).line;
      }
      return line;
    },
  };
}

/** What is sent for a text: a template with its parameters, or a spec. */
export function requestOf(value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return "template" in value ? (camelNames(value) as Record<string, unknown>) : { spec: camelNames(value) };
}

/** A field of a request in words of the text. */
export function fieldInText(field: string, isTemplate: boolean): string {
  return snake(isTemplate ? field : field.replace(/^spec\.?/, ""));
}

/** The text after a change of one value; undefined removes it. What is left empty by that goes too. */
export function withValue(text: string, keys: readonly (string | number)[], value: unknown): string {
  const doc = parseDocument(text);
  if (doc.contents === null) doc.contents = doc.createNode({}) as never;
  if (value === undefined) {
    doc.deleteIn(keys);
    const parent = keys.slice(0, -1);
    const left = parent.length === 0 ? undefined : doc.getIn(parent);
    if (isCollection(left) && left.items.length === 0 && typeof keys.at(-1) === "string") doc.deleteIn(parent);
  } else doc.setIn(keys, doc.createNode(value));
  return doc.toString({ lineWidth: 0 });
}

/** Words as a shell reads them: quotes keep spaces. */
export function splitWords(text: string): readonly string[] {
  const words: string[] = [];
  for (const [word] of text.matchAll(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"?|'[^']*'?)+/g)) {
    words.push(
      word.replaceAll(/\\(.)|"((?:[^"\\]|\\.)*)"?|'([^']*)'?/g, (_, one?: string, double?: string, single?: string) =>
        double !== undefined ? double.replaceAll(/\\(["\\$`])/g, "$1") : (one ?? single ?? ""),
      ),
    );
  }
  return words;
}

/** The reverse of `splitWords`. */
export function joinWords(words: readonly string[]): string {
  return words.map((word) => (/^[^\s"'\\]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(" ");
}
