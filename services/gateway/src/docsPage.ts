/** The OpenAPI document as a page for people: plain HTML without scripts, so that it needs nothing from elsewhere and prints well. */
import type { Schema } from "./jsonSchema.ts";
import type { OpenApi } from "./openApi.ts";

interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description: string;
  readonly parameters: readonly { name: string; in: string; required: boolean; description: string; schema: Schema }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  /** A WebSocket has no 200. */
  readonly responses: { readonly 200?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> } };
}

interface Document {
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly servers: readonly [{ readonly url: string }];
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

export function writeDocsPage(openApi: OpenApi): string {
  const { info, servers, tags, paths, components } = openApi as unknown as Document;
  const base = servers[0].url.replace(/\/$/, "");
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );
  const sections = tags.map(({ name, description }) => {
    const ofTag = operations.filter(({ operation }) => operation.tags.includes(name));
    return `<section id="${name}"><h2>${name}</h2>${prose(description)}${ofTag.map((each) => operationOf(each, base)).join("")}</section>`;
  });
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) =>
      `<details id="schema-${name}"><summary><code>${name}</code></summary>${prose(schema["description"])}${fieldsOf(schema)}</details>`,
  );
  const links = [...tags.map(({ name }) => name), "Schemas"].map((name) => `<a href="#${name}">${name}</a>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${toHtml(info.title)} API</title>
<link rel="stylesheet" href="docs.css">
</head>
<body>
<header><h1>${toHtml(info.title)} API <small>${toHtml(info.version)}</small></h1>${prose(info.description)}
<p>For programs: <a href="openapi.json">openapi.json</a></p>
<nav aria-label="Sections">${links.join("\n")}</nav></header>
<main>${sections.join("\n")}
<section id="Schemas"><h2>Schemas</h2>${schemas.join("\n")}</section></main>
</body>
</html>
`;
}

function operationOf(
  { path, method, operation }: { path: string; method: string; operation: Operation },
  base: string,
) {
  const { operationId, summary, description, parameters, requestBody, responses } = operation;
  const body = requestBody?.content["application/json"]?.schema;
  const [[type = "a WebSocket", { schema: answer = {} } = {}] = []] = Object.entries(responses[200]?.content ?? {});
  const rows = parameters.map(
    ({ name, in: place, required, description: said, schema }) =>
      `<tr><th scope="row"><code>${toHtml(name)}</code>${required ? " *" : ""}</th><td>${place}</td><td>${typeOf(schema)}</td><td>${inline(said)}</td></tr>`,
  );
  return `<details id="${operationId}"><summary><b class="${method}">${method}</b> <code>${toHtml(base + path)}</code> <span>${inline(summary)}</span></summary>
${prose(description)}
${rows.length === 0 ? "" : `<h4>Parameters</h4><table>${rows.join("")}</table>`}
${body === undefined ? "" : `<h4>Body</h4>${"$ref" in body ? `<p>${typeOf(body)}</p>` : fieldsOf(body)}`}
<h4>Answer</h4><p>${type === "application/json" ? typeOf(answer) : toHtml(type)}</p>
${responses[200] === undefined ? "" : `<h4>With curl</h4><pre><code>${toHtml(curlOf(method, base + path, operation))}</code></pre>`}</details>`;
}

function curlOf(method: string, path: string, { requestBody, responses }: Operation): string {
  const isStream = "text/event-stream" in (responses[200]?.content ?? {});
  const way = method === "GET" ? (isStream ? "-N " : "") : `-X ${method} `;
  const body = requestBody === undefined ? "" : " \\\n  -H 'content-type: application/json' -d '{}'";
  return `curl ${way}http://127.0.0.1:7170${path.replaceAll(/\{(\w+)\}/g, "$$$1")}${body}`;
}

function fieldsOf(schema: Schema): string {
  const values = schema["enum"] as readonly string[] | undefined;
  if (values !== undefined)
    return `<ul>${values.map((value) => `<li><code>${toHtml(value)}</code></li>`).join("")}</ul>`;
  const properties = (schema["properties"] ?? {}) as Readonly<Record<string, Schema>>;
  const rows = Object.entries(properties).map(
    ([name, field]) =>
      `<tr><th scope="row"><code>${toHtml(name)}</code></th><td>${typeOf(field)}</td><td>${inline(String(field["description"] ?? ""))}</td></tr>`,
  );
  return rows.length === 0 ? "<p>No fields.</p>" : `<table>${rows.join("")}</table>`;
}

function typeOf(schema: Schema): string {
  const {
    $ref,
    type,
    items,
    additionalProperties: values,
    format,
  } = schema as Readonly<Record<string, Schema | string>>;
  if (typeof $ref === "string") {
    const name = $ref.slice($ref.lastIndexOf("/") + 1);
    return `<a href="#schema-${name}">${name}</a>`;
  }
  if (type === "array") return `list of ${typeOf(items as Schema)}`;
  if (type === "object" && typeof values === "object") return `map to ${typeOf(values)}`;
  if (format === "date-time") return "time";
  if (schema["contentEncoding"] === "base64") return "base64";
  return toHtml(String(type ?? "any JSON"));
}

/** Paragraphs; a comment's own line breaks mean nothing, but those of its lists do. */
function prose(text: unknown): string {
  return String(text ?? "")
    .split(/\n{2,}/)
    .filter((part) => part !== "")
    .map((part) => `<p>${inline(part).replaceAll("\n- ", "<br>– ").replace(/^- /, "– ")}</p>`)
    .join("");
}

function inline(text: string): string {
  return toHtml(text).replaceAll(/`([^`]+)`/g, "<code>$1</code>");
}

function toHtml(text: string): string {
  return text.replaceAll(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

export const docsStyle = `:root { color-scheme: light dark; --line: #8884; --accent: light-dark(#0b57d0, #8ab4f8) }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem }
h1 small { font-weight: 400; opacity: .7 }
nav { display: flex; flex-wrap: wrap; gap: .4rem 1rem }
a { color: var(--accent) }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; padding: .4rem .7rem }
summary { cursor: pointer; overflow-wrap: anywhere }
summary b { display: inline-block; min-width: 4rem }
code, pre { font: 13px/1.5 ui-monospace, monospace }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: .5rem }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { text-align: left; vertical-align: top; border-top: 1px solid var(--line); padding: .3rem .8rem .3rem 0 }
`;
