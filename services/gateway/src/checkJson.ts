/**
 * Checks JSON against the schemas of the contracts: all that is wrong at once, in words for people. What a value must be like beyond its
 * type is for the context to say, which knows.
 */
import type { DescMessage } from "@bufbuild/protobuf";
import type { FieldViolation } from "@capstan/errors";
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import type { Rpc } from "./contracts.ts";
import { createSchemas, type Schemas } from "./jsonSchema.ts";

const maxViolations = 50;

// https://www.rfc-editor.org/rfc/rfc3339#section-5.6
const dateTime = /^(\d{4}-\d{2}-\d{2})[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$/;

/** Whether text is a time that there is: the 31st of February would otherwise be taken for the 3rd of March. */
function isTime(text: string): boolean {
  const [, day = ""] = dateTime.exec(text) ?? [];
  const midnight = new Date(`${day}T00:00:00Z`);
  if (Number.isNaN(midnight.getTime()) || !midnight.toISOString().startsWith(day)) return false;
  return !Number.isNaN(Date.parse(text.toUpperCase()));
}

/** Telling all that is wrong takes the square of its number: in more values than these only the first is told. */
const maxValues = 5_000;

/** Gives back what is wrong with a message as JSON; nothing if all is well. A message's schema is compiled when it is first needed. */
export function createJsonCheck(
  rpcs: readonly Rpc[],
): (message: DescMessage, json: unknown) => readonly FieldViolation[] {
  const schemas = createSchemas(rpcs, { refPrefix: "capstan#/components/" });
  const findFirst = createCompile(schemas, false);
  const findAll = createCompile(schemas, true);

  return (message, json) => {
    const first = findFirst(message);
    if (first(json)) return [];
    if (countValues(json, maxValues) === maxValues) {
      const told = (first.errors ?? []).map((error) => toViolation(error, message));
      return [...told, { field: "", description: "there may be more: the request is too large to tell all" }];
    }
    const all = findAll(message);
    all(json);
    const errors = all.errors ?? [];
    const told = errors.slice(0, maxViolations).map((error) => toViolation(error, message));
    const left = errors.length - told.length;
    return left > 0 ? [...told, { field: "", description: `and ${left} more` }] : told;
  };
}

function createCompile({ components, refTo }: Schemas, allErrors: boolean): (message: DescMessage) => ValidateFunction {
  const ajv = new Ajv2020({ allErrors, strict: false, verbose: false, inlineRefs: false });
  ajv.addFormat("date-time", { type: "string", validate: isTime });
  for (const format of ["int32", "int64", "double", "float"]) ajv.addFormat(format, true);
  ajv.addSchema({ $id: "capstan", components });
  const compiled = new Map<DescMessage, ValidateFunction>();
  return (message) => {
    const validate = compiled.get(message) ?? ajv.compile({ ...refTo(message) });
    compiled.set(message, validate);
    return validate;
  };
}

/** The values within a value, itself among them, counted up to `most`. */
function countValues(value: unknown, most: number): number {
  if (typeof value !== "object" || value === null) return 1;
  let count = 1;
  for (const part of Object.values(value)) {
    count += countValues(part, most - count);
    if (count >= most) return most;
  }
  return count;
}

function toViolation(error: ErrorObject, message: DescMessage): FieldViolation {
  const field = fieldAt(error.instancePath);
  const { params } = error as { params: Readonly<Record<string, unknown>> };
  switch (error.keyword) {
    case "additionalProperties": {
      const name = String(params["additionalProperty"]);
      return { field: field === "" ? name : `${field}.${name}`, description: "there is no such field" };
    }
    case "enum": {
      const values = params["allowedValues"] as readonly string[];
      return {
        field,
        description: `must be one of ${values.filter((value) => !value.endsWith("_UNSPECIFIED")).join(", ")}`,
      };
    }
    case "type":
      return { field: field === "" ? "body" : field, description: `must be ${withArticle(String(params["type"]))}` };
    case "format":
      return { field, description: 'must be a time such as "2026-01-31T08:30:00Z"' };
    case "pattern":
      return { field, description: patternWords(String(params["pattern"])) };
    default:
      return { field, description: error.message ?? `does not fit ${message.name}` };
  }
}

/** `/spec/steps/0/command` as `spec.steps[0].command`. */
function fieldAt(pointer: string): string {
  const parts = pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return parts.reduce(
    (path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : `${path}${path === "" ? "" : "."}${part}`),
    "",
  );
}

function withArticle(type: string): string {
  if (type === "array") return "a list";
  if (type === "integer" || type === "object") return `an ${type}`;
  return `a ${type}`;
}

function patternWords(pattern: string): string {
  if (pattern.endsWith("s$")) return 'must be a duration in seconds such as "30s" or "0.5s"';
  return pattern.startsWith("^-?") ? "must be a whole number as text" : "must be base64";
}
