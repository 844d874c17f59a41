/** One template: its versions, and of the one that is shown what it takes, what it does and what has become of its jobs. */
import { html } from "htm/preact";
import { get } from "../api.ts";
import { cli } from "../commands.ts";
import { formatCount, humanWord } from "../format.ts";
import type { Template } from "../json.ts";
import { type List, useFacts, useList } from "../list.ts";
import { useQuery } from "../query.ts";
import { link, query } from "../router.ts";
import type { ScreenProps } from "../screens.ts";
import { fileText } from "../specText.ts";
import { moveTemplate, type TemplateVerb, verbsOf } from "../templateActions.ts";
import { StateChip, type Tone } from "../ui/chip.ts";
import { Icon } from "../ui/icon.ts";
import { Code, Copy, Head, Panel } from "../ui/layout.ts";
import { Empty, Loaded, Unread } from "../ui/states.ts";
import { Age } from "../ui/time.ts";

type Spec = NonNullable<Template["spec"]>;
type Parameter = NonNullable<Spec["parameters"]>[number];

const titles: Readonly<Record<TemplateVerb, string>> = {
  publish: "Publish",
  deprecate: "Deprecate",
  archive: "Archive",
};

/** What a value has to be, in words. */
function rulesOf({ type, itemType, min, max, pattern, choices = [] }: Parameter): string {
  const kind = humanWord(type) || "string";
  const of = kind === "list" ? ` of ${humanWord(itemType) || "string"}` : "";
  const measure = kind === "list" ? " items" : kind === "string" ? " characters" : "";
  const range =
    min !== undefined && max !== undefined
      ? `${min} to ${max}${measure}`
      : min !== undefined
        ? `at least ${min}${measure}`
        : max !== undefined
          ? `at most ${max}${measure}`
          : "";
  return [`${kind}${of}`, choices.join(" or "), range, pattern ? `like ${pattern}` : ""]
    .filter((text) => text !== "")
    .join(", ");
}

function Parameters({ parameters = [] }: { parameters: Spec["parameters"] }) {
  if (parameters.length === 0) return html`<p class="quiet">It takes none.</p>`;
  return html`<ul class="lines">${parameters.map(
    (parameter) => html`<li key=${parameter.name} class="parameter">
      <code>${parameter.name}</code><span>${rulesOf(parameter)}</span>
      <span class="quiet">${parameter.required ? "required" : parameter.defaultValue === undefined || parameter.defaultValue === null ? "may be left out" : html`else <code>${JSON.stringify(parameter.defaultValue)}</code>`}</span>
      ${parameter.description && html`<span class="quiet wide">${parameter.description}</span>`}
    </li>`,
  )}</ul>`;
}

const outcomes: readonly (readonly [
  key: "succeeded" | "failed" | "timedOut" | "cancelled",
  title: string,
  tone: Tone,
])[] = [
  ["succeeded", "succeeded", "good"],
  ["failed", "failed", "bad"],
  ["timedOut", "timed out", "warn"],
  ["cancelled", "cancelled", "quiet"],
];

function Outcomes({ template }: { template: Template }) {
  const { counts = {}, name } = template;
  const runs = Number(counts.runs ?? 0);
  if (runs === 0) return html`<p class="quiet">No job was made from this version.</p>`;
  const parts = outcomes.map(([key, title, tone]) => ({ title, tone, count: Number(counts[key] ?? 0) }));
  const live = runs - parts.reduce((sum, { count }) => sum + count, 0);
  const all = [...parts, { title: "not ended", tone: "info" as const, count: live }].filter(({ count }) => count > 0);
  return html`<div class="outcomes">
    <div class="outcome-bar" role="img" aria-label=${all.map(({ title, count }) => `${count} ${title}`).join(", ")}>${all.map(({ title, tone, count }) => html`<i key=${title} class=${`swatch ${tone}`} style=${{ flexGrow: count }}></i>`)}</div>
    <p class="row-gap small">${all.map(({ title, tone, count }) => html`<span class="key" key=${title}><i class=${`swatch ${tone}`}></i>${title} <b class="number">${formatCount(count)}</b></span>`)}
      <span class="grow"></span><a href=${link("jobs", { filter: `template = ${JSON.stringify(name)}` })}>All its jobs</a></p>
  </div>`;
}

function Versions({ versions, shown }: { versions: readonly Template[]; shown: number }) {
  return html`<ul class="versions">${versions.map(
    ({ name, version = 0, state, updateTime }) => html`<li key=${version}>
      <a href=${link(`templates/${name}`, { version: String(version) })} aria-current=${version === shown ? "true" : undefined}>
        <span class="number">Version ${version}</span><${StateChip} state=${state} /><span class="quiet small end"><${Age} time=${updateTime} /></span></a></li>`,
  )}</ul>`;
}

export function Screen({ parameters }: ScreenProps) {
  const name = parameters["name"] ?? "";
  const version = query.value.get("version") ?? "";
  const path = `templates/${encodeURIComponent(name)}`;
  const found = useQuery(
    `template ${name} ${version}`,
    (signal) => get<{ template?: Template }>(path, { version }, signal),
    { everyMs: 10_000 },
  );
  const versions = useList<Template>(`${path}/versions`, "templates", {}, { everyMs: 10_000 });
  function reload(): void {
    found.reload();
    versions.reload();
  }
  useFacts(["template.*"], reload);
  const crumb = { text: "Templates", href: link("templates") };
  const template = found.data?.template;
  if (template === undefined) {
    return html`<${Head} title=${name} crumb=${crumb} /><${Unread} query=${found} lines=${6} />`;
  }
  const { spec = {}, state } = template;
  const isUsable = state === "TEMPLATE_STATE_PUBLISHED" || state === "TEMPLATE_STATE_DEPRECATED";
  const use = {
    template: name,
    ...(state === "TEMPLATE_STATE_PUBLISHED" && version === "" ? {} : { version: String(template.version) }),
  };
  const actions = html`${verbsOf(template).map(
    (verb) =>
      html`<button type="button" key=${verb} class="button" onClick=${async () => (await moveTemplate(verb, template)) && reload()}>${titles[verb]}</button>`,
  )}
    ${isUsable && html`<a class="button" href=${link("schedules/new", { template: name })}><${Icon} name="schedule" size=${15} />New schedule</a><a class="button primary" href=${link("new", use)}><${Icon} name="plus" size=${16} />New job</a>`}`;
  return html`<${Head} title=${name} crumb=${crumb} actions=${actions}>
      <span class="number">Version ${template.version}</span><${StateChip} state=${state} />
      ${template.publishTime && html`<span>published <${Age} time=${template.publishTime} suffix=" ago" /></span>`}
    </${Head}>
    ${spec.description && html`<p class="lead">${spec.description}</p>`}
    <div class="with-side">
      <div class="stack">
        <${Panel} title="Parameters"><${Parameters} parameters=${spec.parameters} /></${Panel}>
        <${Panel} title="What has become of its jobs"><${Outcomes} template=${template} /></${Panel}>
        <${Panel} title="The job" actions=${html`<${Copy} text=${cli("job", "submit", "--template", name)} label="Copy the command of the CLI">CLI</${Copy}>`}><${Code} text=${fileText(spec.job)} label="the job" /></${Panel}>
      </div>
      <${Panel} class="flush" title="Versions"><${Loaded} query=${versions}>${({ items }: List<Template>) =>
        items.length === 0
          ? html`<${Empty} title="No version" />`
          : html`<${Versions} versions=${items} shown=${template.version ?? 0} />`}</${Loaded}></${Panel}>
    </div>`;
}
