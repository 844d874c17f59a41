/** What can be done with a version of a template. */
import { post } from "./api.ts";
import { enumWord } from "./format.ts";
import { act } from "./jobActions.ts";
import type { Template } from "./json.ts";
import { ask } from "./ui/dialog.ts";

export type TemplateVerb = "publish" | "deprecate" | "archive";

/** What each state allows, in the order it is usually done. */
export function verbsOf(template: Template): readonly TemplateVerb[] {
  const verbs: Readonly<Record<string, readonly TemplateVerb[]>> = {
    DRAFT: ["publish", "archive"],
    PUBLISHED: ["deprecate", "archive"],
    DEPRECATED: ["archive"],
  };
  return verbs[enumWord(template.state)] ?? [];
}

const said: Readonly<Record<TemplateVerb, string>> = {
  publish: "published",
  deprecate: "deprecated",
  archive: "archived",
};

function textOf(verb: TemplateVerb): string {
  if (verb === "publish") {
    return "From then on it can be used and is the newest version, which whoever names no version gets. What it says can never be changed again.";
  }
  if (verb === "deprecate") {
    return "It is never chosen as the newest any more. Who names this version can still use it, and is told that it is deprecated. This cannot be taken back.";
  }
  return "Nobody can use this version any more: schedules that name it pause when their next job is refused. Jobs that were made from it go on. This cannot be taken back.";
}

export async function moveTemplate(
  verb: TemplateVerb,
  { name = "", version = 0, etag = "" }: Template,
): Promise<boolean> {
  const title = `${verb.charAt(0).toUpperCase()}${verb.slice(1)} version ${version} of “${name}”?`;
  const answer = await ask({
    title,
    text: textOf(verb),
    verb: `${title.split(" ")[0]} it`,
    isDestructive: verb === "archive",
  });
  if (answer === null) return false;
  const body = verb === "publish" ? { version, etag } : { version };
  return act(
    () => post(`templates/${encodeURIComponent(name)}:${verb}`, body),
    `Version ${version} of ${name} is ${said[verb]}`,
  );
}
