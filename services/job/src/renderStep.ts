/**
 * A step with its expressions filled in, and the other expressions of a step evaluated. Nothing here reads a clock or does I/O: the same
 * step over the same scope always gives the same. What was filled in is checked like what was submitted, since it comes from results
 * and inputs that nobody has looked at.
 */
import { type FieldViolation, invalid } from "@capstan/errors";
import { ExpressionError, evaluate, splitTemplate, Work } from "@capstan/expressions";
import type { ForEach, JobSpec, Sleep, StepSpec, TemplateUse } from "@capstan/proto/capstan/job/v1/spec.ts";
import { checkLine, durationMs, shownKey } from "./fieldChecks.ts";
import { measureJson } from "./handlerSpec.ts";
import { checkTexts, isTemplate } from "./stepSpec.ts";

/** What expressions read, by the names they have there. */
export type Scope = {
  readonly input: unknown;
  readonly steps: Readonly<Record<string, { readonly state: string; readonly result: unknown }>>;
  readonly job: Readonly<Record<string, unknown>>;
  /** Only in `for_each`. */
  readonly item?: unknown;
  readonly index?: number;
};

export const maxItems = 10_000;
/** Of all that is filled into a step, as for a whole spec. */
export const maxFilledBytes = 256 * 1024;
const maxAheadMs = 366 * 86_400_000;

/**
 * The step with every `${{ … }}` replaced. A text that is nothing but one keeps the type of its value in `input` and in the parameters
 * of a sub-job; elsewhere it is a text, of lists and objects their JSON. The step itself if it has none. Throws an ExpressionError that
 * names the field. Give it the step of the spec, never one that it gave back: what was filled in may look like an expression.
 */
export function renderStep(step: StepSpec, scope: Scope, work = new Work()): StepSpec {
  if (!holdsTemplate(step)) return step;
  const rendered = renderedWith(step, { scope, work, left: maxFilledBytes });
  const violations: string[] = [];
  const refuse = (field: string, description: string) => violations.push(`${field}: ${description}`);
  checkTexts(rendered, measureJson(rendered.input).bytes, refuse, { isFilledIn: true });
  if (violations.length > 0) throw new ExpressionError(violations.join("; "));
  return rendered;
}

/** True if anything is to be filled in. */
export function holdsTemplate({
  command,
  args,
  env,
  workingDirectory,
  image,
  input,
  subJob,
  approval,
  signal,
}: StepSpec) {
  return (
    jsonHoldsTemplate(input) ||
    command.some(isTemplate) ||
    args.some(isTemplate) ||
    Object.values(env).some(isTemplate) ||
    isTemplate(workingDirectory) ||
    isTemplate(image) ||
    jsonHoldsTemplate(subJob?.template?.parameters) ||
    isTemplate(approval?.message ?? "") ||
    isTemplate(signal?.name ?? "")
  );
}

function jsonHoldsTemplate(value: unknown): boolean {
  if (typeof value === "string") return isTemplate(value);
  return typeof value === "object" && value !== null && Object.values(value).some(jsonHoldsTemplate);
}

interface Fill {
  readonly scope: Scope;
  /** One for the whole step: a thousand expressions may do no more than one. */
  readonly work: Work;
  left: number;
}

function renderedWith(step: StepSpec, fill: Fill): StepSpec {
  const { subJob, approval, signal } = step;
  return {
    ...step,
    command: step.command.map((text, index) => renderedText(text, `command[${index}]`, fill)),
    args: step.args.map((text, index) => renderedText(text, `args[${index}]`, fill)),
    env: renderedEnv(step.env, fill),
    workingDirectory: renderedText(step.workingDirectory, "working_directory", fill),
    image: renderedText(step.image, "image", fill),
    input: renderedJson(step.input, "input", fill),
    subJob: subJob?.template === undefined ? subJob : { template: renderedTemplate(subJob.template, fill) },
    approval: approval && { ...approval, message: renderedText(approval.message, "approval.message", fill) },
    signal: signal && { ...signal, name: renderedText(signal.name, "signal.name", fill) },
  };
}

function renderedEnv(env: StepSpec["env"], fill: Fill): StepSpec["env"] {
  return Object.fromEntries(
    Object.entries(env).map(([name, value]) => [name, renderedText(value, `env[${shownKey(name)}]`, fill)]),
  );
}

function renderedTemplate(template: TemplateUse, fill: Fill): TemplateUse {
  const parameters = renderedJson(template.parameters, "sub_job.template.parameters", fill);
  return { ...template, parameters: parameters as TemplateUse["parameters"] };
}

function renderedText(template: string, field: string, fill: Fill): string {
  return isTemplate(template) ? textOf(filled(template, field, fill)) : template;
}

function renderedJson(value: unknown, field: string, fill: Fill): unknown {
  if (typeof value === "string") return isTemplate(value) ? filled(value, field, fill) : value;
  if (Array.isArray(value)) return value.map((item, index) => renderedJson(item, `${field}[${index}]`, fill));
  if (typeof value !== "object" || value === null) return value;
  // `fromEntries` defines fields, so that one called __proto__ stays data.
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, renderedJson(item, `${field}[${shownKey(key)}]`, fill)]),
  );
}

/** The value of a text that is one expression, otherwise a text. */
function filled(template: string, field: string, fill: Fill): unknown {
  const parts = told(field, null, () => splitTemplate(template));
  const values = parts.map((part) => {
    if ("text" in part) return part.text;
    const value = told(field, part.expression, () => evaluate(part.expression, fill.scope, fill.work));
    fill.left -= textOf(value).length;
    if (fill.left < 0)
      throw new ExpressionError(`${field}: more than ${maxFilledBytes} bytes are filled into the step`);
    return value;
  });
  const [only] = parts;
  return parts.length === 1 && only !== undefined && "expression" in only ? values[0] : values.map(textOf).join("");
}

/** Text as it is, everything else as JSON. */
function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Says of which field and expression an error is. */
function told<T>(field: string, expression: string | null, of: () => T): T {
  try {
    return of();
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    const quoted = expression === null ? "" : `${shownExpression(expression)} `;
    throw new ExpressionError(`${field}: ${quoted}${error.message}`);
  }
}

function shownExpression(expression: string): string {
  const line = expression.replace(/\s+/g, " ");
  return line.length > 100 ? `\`${line.slice(0, 99)}…\`` : `\`${line}\``;
}

function resultOf(field: string, expression: string, scope: Scope, work = new Work()): unknown {
  return told(field, expression, () => evaluate(expression, scope, work));
}

/** The key of a job in its queue. Refuses a spec whose key cannot be made of its input. */
export function concurrencyKeyOf({ concurrencyKey, input }: JobSpec): string {
  if (!isTemplate(concurrencyKey)) return concurrencyKey;
  const field = "concurrency_key";
  const violations: FieldViolation[] = [];
  const refuse = (at: string, description: string) => violations.push({ field: `spec.${at}`, description });
  try {
    const scope = { input: input ?? null, steps: {}, job: {} };
    const key = textOf(filled(concurrencyKey, field, { scope, work: new Work(), left: maxFilledBytes }));
    checkLine(key, field, 256, refuse);
    if (violations.length === 0) return key;
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    refuse(field, error.message.replace(`${field}: `, ""));
  }
  throw invalid(violations);
}

/** Whether a step runs, by its `when`; an empty one says yes. */
export function conditionOf(when: string, scope: Scope, work = new Work()): boolean {
  if (when === "") return true;
  const value = resultOf("when", when, scope, work);
  if (typeof value === "boolean") return value;
  throw new ExpressionError(`when: ${shownExpression(when)} gives ${phraseOf(value)}; it must give true or false`);
}

/** The items of a `for_each`, at most 10,000. */
export function itemsOf({ items, expression }: ForEach, scope: Scope, work = new Work()): readonly unknown[] {
  if (expression === "") return items ?? [];
  const field = "for_each.expression";
  const value = resultOf(field, expression, scope, work);
  if (!Array.isArray(value)) {
    throw new ExpressionError(`${field}: ${shownExpression(expression)} gives ${phraseOf(value)}; it must give a list`);
  }
  if (value.length > maxItems) {
    throw new ExpressionError(
      `${field}: ${shownExpression(expression)} gives ${value.length} items; the limit is ${maxItems}`,
    );
  }
  return value;
}

/** When a sleep ends that begins `now`. */
export function sleepTimeOf({ duration, until, expression }: Sleep, now: Date, scope: Scope): Date {
  if (until !== undefined) return until;
  if (expression === "") return new Date(now.getTime() + durationMs(duration));
  const field = "sleep.expression";
  const value = resultOf(field, expression, scope);
  if (typeof value !== "string") {
    throw new ExpressionError(`${field}: ${shownExpression(expression)} gives ${phraseOf(value)}; it must give a time`);
  }
  const time = new Date(String(told(field, expression, () => evaluate("timestamp(time)", { time: value }))));
  if (time.getTime() > now.getTime() + maxAheadMs) {
    throw new ExpressionError(`${field}: ${shownExpression(expression)} gives a time more than 366 days ahead`);
  }
  return time;
}

/** As it may stand in a sentence; of a result, which has only what JSON has. */
function phraseOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "boolean") return "true or false";
  if (typeof value === "string") return "a text";
  return typeof value === "number" ? "a number" : "an object";
}
