/**
 * The parameters of templates: what a definition may say, and which values pass it. Values are checked as what they are and never
 * become part of a text, so that nothing in them can change what a template says.
 */
import type { TemplateParameter } from "@capstan/proto/capstan/job/v1/template.ts";
import { RE2JS } from "re2js";
import { checkEnum, checkText, type Refuse, shownKey } from "./fieldChecks.ts";

const parameterName = /^[a-z_][a-z0-9_]{0,62}$/;
const secretReference = /^secret:[a-zA-Z0-9]([a-zA-Z0-9._/-]{0,126}[a-zA-Z0-9])?$/;
/** The name under which a schedule tells its jobs of itself. */
export const scheduleKey = "schedule";

const maxTextLength = 65_536;
const maxItems = 1_000;
const maxPatternLength = 512;
/** Instructions of a compiled pattern. The time to match is bounded by them times the length of the value: 0.3 s for what follows. */
const maxPatternSize = 256;
const maxMatchedLength = 4_096;
const maxMatchedItems = 64;

type Type = "STRING" | "NUMBER" | "INTEGER" | "BOOLEAN" | "CHOICE" | "LIST" | "SECRET";

function typeOf(type: TemplateParameter["type"]): Type {
  return type === "PARAMETER_TYPE_UNSPECIFIED" || type === "UNRECOGNIZED"
    ? "STRING"
    : (type.slice("PARAMETER_TYPE_".length) as Type);
}

/** What a value, or each item of a list, is. */
function scalarTypeOf({ type, itemType }: TemplateParameter): Type {
  return typeOf(type) === "LIST" ? typeOf(itemType) : typeOf(type);
}

/** Every problem of a list of definitions. `refuse` is called with paths such as `[0].pattern`. */
export function checkParameters(parameters: readonly TemplateParameter[], refuse: Refuse): void {
  if (parameters.length > 64) return refuse("", `has ${parameters.length} parameters; the limit is 64`);
  const names = new Set<string>();
  for (const [index, parameter] of parameters.entries()) {
    const refuseOfOne: Refuse = (field, description) => refuse(`[${index}].${field}`, description);
    if (names.has(parameter.name)) refuseOfOne("name", `is that of another parameter: ${shownKey(parameter.name)}`);
    names.add(parameter.name);
    checkDefinition(parameter, refuseOfOne);
  }
}

function checkDefinition(parameter: TemplateParameter, refuse: Refuse): void {
  let isGood = true;
  const refuseHere: Refuse = (field, description) => {
    isGood = false;
    refuse(field, description);
  };
  const type = typeOf(parameter.type);
  if (!parameterName.test(parameter.name)) refuseHere("name", `must match ${parameterName.source}`);
  if (parameter.name === scheduleKey) refuseHere("name", "is kept for what a schedule tells its jobs");
  checkEnum(parameter.type, "type", refuseHere);
  checkEnum(parameter.itemType, "item_type", refuseHere);
  checkText(parameter.description, "description", 1_024, refuseHere);
  if (parameter.itemType !== "PARAMETER_TYPE_UNSPECIFIED" && type !== "LIST")
    refuseHere("item_type", "needs type LIST");
  if (type === "LIST" && typeOf(parameter.itemType) === "LIST") refuseHere("item_type", "must not be LIST");
  checkPattern(parameter, refuseHere);
  checkBounds(parameter, type, refuseHere);
  checkChoices(parameter, refuseHere);
  const { defaultValue } = parameter;
  if (defaultValue === undefined || defaultValue === null) return;
  if (parameter.required) refuseHere("default_value", "cannot be given together with required");
  if (scalarTypeOf(parameter) === "SECRET") refuseHere("default_value", "cannot be given for a secret");
  if (isGood) checkValue(parameter, defaultValue, "default_value", refuse);
}

function checkPattern(parameter: TemplateParameter, refuse: Refuse): void {
  const { pattern } = parameter;
  if (pattern === "") return;
  if (scalarTypeOf(parameter) !== "STRING") refuse("pattern", "needs type STRING, or LIST of STRING");
  if (pattern.length > maxPatternLength) {
    return refuse("pattern", `is ${pattern.length} characters; the limit is ${maxPatternLength}`);
  }
  try {
    if (RE2JS.compile(pattern).programSize() > maxPatternSize) {
      refuse("pattern", `has more than ${maxPatternSize} instructions when it is compiled; use fewer repetitions`);
    }
  } catch (error) {
    refuse(
      "pattern",
      `is not a pattern in RE2 syntax: ${error instanceof Error ? error.message : "it cannot be read"}`,
    );
  }
}

function checkBounds({ min, max }: TemplateParameter, type: Type, refuse: Refuse): void {
  const isCounted = type === "STRING" || type === "LIST";
  const most = type === "LIST" ? maxItems : maxTextLength;
  for (const [field, bound] of [["min", min] as const, ["max", max] as const]) {
    if (bound === undefined) continue;
    if (!isCounted && type !== "NUMBER" && type !== "INTEGER") {
      refuse(field, "needs type NUMBER, INTEGER, STRING or LIST");
    } else if (!Number.isFinite(bound)) refuse(field, "must be a finite number");
    else if (isCounted && !(Number.isInteger(bound) && bound >= 0 && bound <= most)) {
      refuse(field, `is ${bound}; it must be a whole number from 0 to ${most}`);
    }
  }
  if (min !== undefined && max !== undefined && min > max) refuse("max", `is ${max}; it must not be less than min`);
}

function checkChoices(parameter: TemplateParameter, refuse: Refuse): void {
  const { choices } = parameter;
  if (scalarTypeOf(parameter) !== "CHOICE") {
    if (choices.length > 0) refuse("choices", "needs type CHOICE, or LIST of CHOICE");
    return;
  }
  if (choices.length < 1 || choices.length > 256) refuse("choices", `has ${choices.length} choices; it needs 1 to 256`);
  if (new Set(choices).size < choices.length) refuse("choices", "has a choice twice");
  for (const [index, choice] of choices.slice(0, 256).entries()) {
    checkText(choice, `choices[${index}]`, 256, refuse, { required: true });
  }
}

/** The values as a job's input has them: those that were given, defaults, and null for the rest. Calls `refuse` for each bad one. */
export function fillParameters(
  parameters: readonly TemplateParameter[],
  given: Readonly<Record<string, unknown>>,
  refuse: Refuse,
): Record<string, unknown> {
  const names = new Set(parameters.map(({ name }) => name));
  for (const name of Object.keys(given)) {
    if (!names.has(name)) refuse(fieldOf(name), "is no parameter of the template");
  }
  return Object.fromEntries(
    parameters.map((parameter) => {
      const { name } = parameter;
      const value = Object.hasOwn(given, name) ? given[name] : undefined;
      if (value !== undefined && value !== null) checkValue(parameter, value, fieldOf(name), refuse);
      else if (parameter.required) refuse(fieldOf(name), "is required");
      return [name, value ?? parameter.defaultValue ?? null];
    }),
  );
}

/** A path, whatever somebody calls a parameter that there is none of. */
function fieldOf(name: string): string {
  return parameterName.test(name) ? name : shownKey(name);
}

function checkValue(parameter: TemplateParameter, value: unknown, field: string, refuse: Refuse): void {
  if (typeOf(parameter.type) !== "LIST") return checkScalar(parameter, value, field, refuse);
  if (!Array.isArray(value)) return refuse(field, `is ${kindOf(value)}; it must be a list`);
  checkCount(parameter, value.length, field, "items", maxItems, refuse);
  if (value.length > maxItems) return;
  if (parameter.pattern !== "" && value.length > maxMatchedItems) {
    return refuse(field, `has ${value.length} items; with a pattern the limit is ${maxMatchedItems}`);
  }
  // `min` and `max` are about the list.
  const ofItem = { ...parameter, type: parameter.itemType, min: undefined, max: undefined };
  for (const [index, item] of value.entries()) checkScalar(ofItem, item, `${field}[${index}]`, refuse);
}

function checkScalar(parameter: TemplateParameter, value: unknown, field: string, refuse: Refuse): void {
  switch (typeOf(parameter.type)) {
    case "NUMBER":
    case "INTEGER":
      return checkNumber(parameter, value, field, refuse);
    case "BOOLEAN":
      if (typeof value !== "boolean") refuse(field, `is ${kindOf(value)}; it must be true or false`);
      return;
    case "CHOICE": {
      const isOne = typeof value === "string" && parameter.choices.includes(value);
      if (!isOne) refuse(field, `must be one of: ${shownChoices(parameter.choices)}`);
      return;
    }
    case "SECRET":
      if (typeof value !== "string" || !secretReference.test(value)) {
        refuse(field, `must name a secret and match ${secretReference.source}`);
      }
      return;
    default:
      return checkString(parameter, value, field, refuse);
  }
}

function checkNumber({ type, min, max }: TemplateParameter, value: unknown, field: string, refuse: Refuse): void {
  if (typeof value !== "number") return refuse(field, `is ${kindOf(value)}; it must be a number`);
  if (!Number.isFinite(value)) return refuse(field, "must be a finite number");
  if (typeOf(type) === "INTEGER" && !Number.isSafeInteger(value)) {
    return refuse(field, `is ${value}; it must be a whole number of at most ${Number.MAX_SAFE_INTEGER}`);
  }
  if (min !== undefined && value < min) refuse(field, `is ${value}; it must be at least ${min}`);
  if (max !== undefined && value > max) refuse(field, `is ${value}; it must be at most ${max}`);
}

function checkString(parameter: TemplateParameter, value: unknown, field: string, refuse: Refuse): void {
  if (typeof value !== "string") return refuse(field, `is ${kindOf(value)}; it must be text`);
  const { pattern } = parameter;
  const most = pattern === "" ? maxTextLength : maxMatchedLength;
  checkCount(parameter, value.length, field, "characters", most, refuse);
  checkText(value, field, Number.POSITIVE_INFINITY, refuse);
  if (pattern === "" || value.length > most || !value.isWellFormed()) return;
  if (!RE2JS.compile(pattern).testExact(value)) refuse(field, `must match ${pattern}`);
}

function checkCount(
  { min = 0, max }: TemplateParameter,
  count: number,
  field: string,
  unit: string,
  most: number,
  refuse: Refuse,
): void {
  const limit = Math.min(max ?? most, most);
  if (count < min) refuse(field, `has ${count} ${unit}; it needs at least ${min}`);
  if (count > limit) refuse(field, `has ${count} ${unit}; the limit is ${limit}`);
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (value === null) return "null";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function shownChoices(choices: readonly string[]): string {
  const shown = choices.slice(0, 10).map(shownKey).join(", ");
  return choices.length > 10 ? `${shown}, and ${choices.length - 10} more` : shown;
}
