/** Templates as text for people. */
import type { Template, TemplateParameter } from "@capstan/proto/capstan/job/v1/template.ts";
import { formatAge } from "./durations.ts";
import { enumCell, enumWord } from "./enumWord.ts";
import { terminalWidth } from "./output.ts";
import { formatDetails, formatTable } from "./table.ts";

function parametersOf({ spec }: Template): string {
  return (spec?.parameters ?? []).map(({ name, required }) => (required ? `${name}*` : name)).join(", ");
}

export function formatTemplates(templates: readonly Template[], now: Date): string {
  return formatTable(
    templates,
    [
      { title: "NAME", cell: ({ name }) => name },
      { title: "VERSION", cell: ({ version }) => String(version) },
      { title: "STATE", cell: ({ state }) => enumCell(state) },
      { title: "AGE", cell: ({ createTime }) => formatAge(now.getTime() - (createTime ?? now).getTime()) },
      { title: "PARAMETERS", cell: parametersOf },
      { title: "DESCRIPTION", cell: ({ spec }) => spec?.description.split("\n", 1)[0] ?? "" },
    ],
    terminalWidth(),
  );
}

export function formatVersions(templates: readonly Template[], now: Date): string {
  return formatTable(templates, [
    { title: "VERSION", cell: ({ version }) => String(version) },
    { title: "STATE", cell: ({ state }) => enumCell(state) },
    { title: "AGE", cell: ({ createTime }) => formatAge(now.getTime() - (createTime ?? now).getTime()) },
    { title: "RUNS", cell: ({ counts }) => String(counts?.runs ?? 0) },
    { title: "SUCCEEDED", cell: ({ counts }) => String(counts?.succeeded ?? 0) },
    { title: "FAILED", cell: ({ counts }) => String(counts?.failed ?? 0) },
    { title: "CANCELLED", cell: ({ counts }) => String(counts?.cancelled ?? 0) },
    { title: "TIMED OUT", cell: ({ counts }) => String(counts?.timedOut ?? 0) },
  ]);
}

/** What a parameter may be, such as "LIST of INTEGER, at most 3". */
function limitsOf({ type, itemType, min, max, pattern, choices }: TemplateParameter): string {
  const word = enumWord(type) || "STRING";
  return [
    word === "LIST" ? `LIST of ${enumWord(itemType) || "STRING"}` : word,
    min === undefined ? "" : `at least ${min}`,
    max === undefined ? "" : `at most ${max}`,
    pattern === "" ? "" : `matches ${pattern}`,
    choices.length === 0 ? "" : `one of ${choices.join(", ")}`,
  ]
    .filter(Boolean)
    .join(", ");
}

function defaultOf({ required, defaultValue }: TemplateParameter): string {
  if (required) return "required";
  return defaultValue === undefined || defaultValue === null ? "" : JSON.stringify(defaultValue);
}

export function formatTemplate(template: Template): string {
  const { spec, counts } = template;
  const outcomes = [
    `${counts?.runs ?? 0} runs`,
    `${counts?.succeeded ?? 0} succeeded`,
    `${counts?.failed ?? 0} failed`,
    `${counts?.cancelled ?? 0} cancelled`,
    `${counts?.timedOut ?? 0} timed out`,
  ];
  const details = formatDetails([
    ["Name", template.name],
    ["Version", String(template.version)],
    ["State", enumCell(template.state)],
    ["Description", spec?.description ?? ""],
    ["Steps", (spec?.job?.steps ?? []).map(({ name }, index) => name || `step ${index + 1}`).join(", ")],
    ["Jobs", counts === undefined ? "" : outcomes.join(", ")],
    ["Created", template.createTime?.toISOString() ?? ""],
    ["Changed", template.updateTime?.toISOString() ?? ""],
    ["Published", template.publishTime?.toISOString() ?? ""],
  ]);
  const parameters = spec?.parameters ?? [];
  if (parameters.length === 0) return details;
  const table = formatTable(parameters, [
    { title: "PARAMETER", cell: ({ name }) => name },
    { title: "MAY BE", cell: limitsOf },
    { title: "DEFAULT", cell: defaultOf },
    { title: "DESCRIPTION", cell: ({ description }) => description },
  ]);
  return `${details}\n${table}`;
}
