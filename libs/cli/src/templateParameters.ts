/** Templates as they are named on the command line, `NAME` or `NAME@VERSION`, and their parameters, read as what they are. */
import type { Capstan } from "@capstan/client";
import type { TemplateUse } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { ParameterType, TemplateParameter } from "@capstan/proto/capstan/job/v1/template.ts";
import { UsageError } from "./failure.ts";

interface NamedTemplate {
  readonly name: string;
  /** 0 if none was named. */
  readonly version: number;
}

export function parseTemplateName(text: string): NamedTemplate {
  const [name = "", version = "0", ...more] = text.split("@");
  if (name === "" || more.length > 0 || !/^\d{1,9}$/.test(version)) {
    throw new UsageError(`a template is named NAME or NAME@VERSION, not "${text}"`);
  }
  return { name, version: Number(version) };
}

/** Asks the platform what the parameters are, so that `--param size=3` is a number where the template wants one. */
export async function templateUseOf(
  { templates }: Pick<Capstan, "templates">,
  named: string,
  given: Readonly<Record<string, string>>,
): Promise<TemplateUse> {
  const { name, version } = parseTemplateName(named);
  const { template } = await templates.getTemplate({ name, version });
  const parameters = readParameters(template?.spec?.parameters ?? [], given);
  return { name, version, parameters };
}

/** Values by the types of the parameters; what is none of them stays text, for the platform to refuse. */
export function readParameters(
  parameters: readonly TemplateParameter[],
  given: Readonly<Record<string, string>>,
): { [key: string]: unknown } {
  return Object.fromEntries(
    Object.entries(given).map(([name, text]) => {
      const parameter = parameters.find((candidate) => candidate.name === name);
      return [name, readValue(parameter?.type ?? "PARAMETER_TYPE_STRING", text)];
    }),
  );
}

function readValue(type: ParameterType, text: string): unknown {
  switch (type) {
    case "PARAMETER_TYPE_NUMBER":
    case "PARAMETER_TYPE_INTEGER":
      return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
    case "PARAMETER_TYPE_BOOLEAN":
      return text === "true" || text === "false" ? text === "true" : text;
    case "PARAMETER_TYPE_LIST":
      return readList(text);
    default:
      return text;
  }
}

function readList(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
