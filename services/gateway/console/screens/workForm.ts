/** What is run, as a form: of a template its parameters. */
import { html } from "htm/preact";
import { get } from "../api.ts";
import type { Template } from "../json.ts";
import { useQuery } from "../query.ts";
import type { Problem, ReadText } from "../specText.ts";
import { Unread } from "../ui/states.ts";
import { type Change, SpecForm } from "./specForm.ts";
import { TemplateForm } from "./templateForm.ts";

export function WorkForm({ read, problems, change }: { read: ReadText; problems: readonly Problem[]; change: Change }) {
  const use = read.value?.["template"] as { name?: unknown; version?: unknown } | undefined;
  const [name, version] = [String(use?.name ?? ""), Number(use?.version ?? 0)];
  const template = useQuery(name === "" ? "" : `template ${name} ${version}`, (signal) =>
    get<{ template?: Template }>(`templates/${encodeURIComponent(name)}`, { version: version || undefined }, signal),
  );
  if (read.value === null) return html`<p class="quiet">The text is not YAML; the form comes back when it is.</p>`;
  if (name === "") return html`<${SpecForm} value=${read.value} problems=${problems} change=${change} />`;
  if (template.data?.template === undefined) return html`<${Unread} query=${template} />`;
  return html`<${TemplateForm} template=${template.data.template} value=${read.value} problems=${problems} change=${change} />`;
}

/** The names of templates that can be begun with. */
export function usePublishedTemplates(): readonly string[] {
  const templates = useQuery("templates", (signal) =>
    get<{ templates?: readonly Template[] }>("templates", { pageSize: 200, filter: "state = PUBLISHED" }, signal),
  );
  return (templates.data?.templates ?? []).map(({ name = "" }) => name);
}
