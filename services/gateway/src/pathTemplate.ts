/**
 * Paths as google.api.http writes them, such as `/api/v1/jobs/{job_id}/steps/{step}:decide`: literal segments, variables of one segment,
 * and an action after the last colon. A colon inside a value is sent as %3A, so that the two cannot be taken for each other.
 */

export interface PathTemplate {
  /** As it was written. */
  readonly text: string;
  readonly segments: readonly { readonly literal: string; readonly variable?: undefined | string }[];
  /** Empty if there is none. */
  readonly action: string;
}

/** Refuses what this gateway has no need for: wildcards and variables of several segments. */
export function parseTemplate(text: string): PathTemplate {
  const [, path = "", action = ""] = /^((?:\/(?:[\w.-]+|\{\w+\}))+)(?::(\w+))?$/.exec(text) ?? [];
  if (path === "") throw new Error(`the path ${text} is not one that the gateway can serve`);
  const segments = path
    .slice(1)
    .split("/")
    .map((segment) =>
      segment.startsWith("{") ? { literal: "", variable: segment.slice(1, -1) } : { literal: segment },
    );
  return { text, segments, action };
}

interface PathMatch<R> {
  /** What is served at this path, by HTTP method. */
  readonly methods: ReadonlyMap<string, R>;
  readonly values: Readonly<Record<string, string>>;
}

interface Entry<R> {
  readonly template: PathTemplate;
  readonly methods: Map<string, R>;
}

/**
 * Gives back how to find what is served at a path as it came over the wire, still encoded. Null: nothing is. A path with a value that
 * cannot be decoded is one at which nothing is served.
 */
export function createPathTable<R>(
  routes: readonly { readonly method: string; readonly template: PathTemplate; readonly route: R }[],
): (path: string) => PathMatch<R> | null {
  const entries = new Map<string, Entry<R>>();
  for (const { method, template, route } of routes) {
    const key = template.text.replaceAll(/\{\w+\}/g, "{}");
    const entry = entries.get(key) ?? { template, methods: new Map<string, R>() };
    if (entry.methods.has(method)) throw new Error(`two calls are at ${method} ${template.text}`);
    entry.methods.set(method, route);
    entries.set(key, entry);
  }
  const byShape = Map.groupBy(entries.values(), ({ template }) => shapeOf(template.segments.length, template.action));

  return (path) => {
    const colon = path.indexOf(":", path.lastIndexOf("/"));
    const [bare, action] = colon === -1 ? [path, ""] : [path.slice(0, colon), path.slice(colon + 1)];
    const segments = bare.slice(1).split("/");
    const candidates = byShape.get(shapeOf(segments.length, action)) ?? [];
    const found = candidates.find(({ template }) =>
      template.segments.every(({ literal, variable }, at) =>
        variable === undefined ? segments[at] === literal : segments[at] !== "",
      ),
    );
    if (found === undefined) return null;
    const values = readValues(found.template, segments);
    return values === null ? null : { methods: found.methods, values };
  };
}

function shapeOf(length: number, action: string): string {
  return `${length}:${action}`;
}

function readValues(template: PathTemplate, segments: readonly string[]): Record<string, string> | null {
  try {
    return Object.fromEntries(
      template.segments.flatMap(({ variable }, at) =>
        variable === undefined ? [] : [[variable, decodeURIComponent(segments[at] ?? "")]],
      ),
    );
  } catch {
    return null;
  }
}
