/** `capstan template …`: named jobs with parameters. A template is named NAME, one version of it NAME@VERSION. */
import type { Capstan } from "@capstan/client";
import { Template } from "@capstan/proto/capstan/job/v1/template.ts";
import type { Command } from "commander";
import { UsageError } from "./failure.ts";
import { readMessageFile } from "./jobFile.ts";
import { type CommonOptions, limitOption, withCommon } from "./options.ts";
import { note, type OutputFormat, print } from "./output.ts";
import { firstItems } from "./pages.ts";
import { present, withCapstan } from "./session.ts";
import { templateFile } from "./templateFields.ts";
import { parseTemplateName } from "./templateParameters.ts";
import { formatTemplate, formatTemplates, formatVersions } from "./templateView.ts";

interface Answer {
  readonly template: Template | undefined;
}

async function printTemplate(output: OutputFormat, answer: Answer): Promise<void> {
  const template = present(answer.template);
  await print(output, Template.toJSON(template), () => formatTemplate(template));
}

interface ListOptions extends CommonOptions {
  readonly filter?: string;
  readonly limit: number;
}

function listTemplates({ limit, filter = "", output, ...options }: ListOptions): Promise<void> {
  return withCapstan(options, async (capstan) => {
    const found = await firstItems(limit, async (page) => {
      const { templates, nextPageToken } = await capstan.templates.listTemplates({ ...page, filter });
      return { items: templates, nextPageToken };
    });
    await print(
      output,
      found.map((template) => Template.toJSON(template)),
      () => formatTemplates(found, new Date()),
    );
  });
}

function listVersions(name: string, { limit, output, ...options }: Omit<ListOptions, "filter">): Promise<void> {
  return withCapstan(options, async (capstan) => {
    const found = await firstItems(limit, async (page) => {
      const { templates, nextPageToken } = await capstan.templates.listTemplateVersions({ ...page, name });
      return { items: templates, nextPageToken };
    });
    await print(
      output,
      found.map((template) => Template.toJSON(template)),
      () => formatVersions(found, new Date()),
    );
  });
}

interface CreateOptions extends CommonOptions {
  readonly file: string;
  readonly publish?: true;
  readonly validateOnly?: boolean;
}

async function create({ file, publish, validateOnly = false, ...options }: CreateOptions) {
  const { name, spec } = await readMessageFile(file, "template", templateFile);
  await withCapstan(options, async ({ templates }) => {
    const answer = await templates.createTemplate({ name, spec, validateOnly });
    if (validateOnly) return note("the platform would take it; nothing was made");
    if (answer.existed) note("this draft was there already");
    const { version } = present(answer.template);
    await printTemplate(
      options.output,
      publish ? await templates.publishTemplate({ name, version, etag: "" }) : answer,
    );
  });
}

async function update({ file, ...options }: CommonOptions & { readonly file: string }): Promise<void> {
  const { name, spec } = await readMessageFile(file, "template", templateFile);
  await withCapstan(options, async ({ templates }) => {
    await printTemplate(options.output, await templates.updateTemplate({ name, spec, etag: "" }));
  });
}

type Move = (templates: Capstan["templates"], named: { name: string; version: number }) => Promise<Answer>;

interface MoveCommand {
  readonly description: string;
  readonly needsVersion: boolean;
  readonly move: Move;
}

const moves: Readonly<Record<string, MoveCommand>> = {
  get: {
    description: "Show one version: the newest published one unless it is named.",
    needsVersion: false,
    move: (templates, named) => templates.getTemplate(named),
  },
  publish: {
    description: "Publish the draft. It can be used from then on, and never changes.",
    needsVersion: false,
    move: (templates, named) => templates.publishTemplate({ ...named, etag: "" }),
  },
  deprecate: {
    description: "Advise against a version. It can still be used by naming it.",
    needsVersion: true,
    move: (templates, named) => templates.deprecateTemplate(named),
  },
  archive: {
    description: "Take a version out of use for good. Jobs that were made from it go on.",
    needsVersion: true,
    move: (templates, named) => templates.archiveTemplate(named),
  },
};

function addMoves(template: Command): void {
  for (const [name, { description, needsVersion, move }] of Object.entries(moves)) {
    withCommon(template.command(name))
      .description(description)
      .argument("<template>", needsVersion ? "NAME@VERSION" : "NAME or NAME@VERSION")
      .action((text: string, options: CommonOptions) => {
        const named = parseTemplateName(text);
        if (needsVersion && named.version === 0) throw new UsageError(`name the version, as in ${named.name}@1`);
        return withCapstan(options, async ({ templates }) =>
          printTemplate(options.output, await move(templates, named)),
        );
      });
  }
}

/** Adds the commands to `capstan template`. */
export function addTemplateCommands(template: Command): void {
  withCommon(template.command("list"))
    .description("List templates by name, of each the newest published version. Parameters with a * are required.")
    .option("--filter <filter>", "AIP-160 over name and state, such as: state = PUBLISHED")
    .addOption(limitOption())
    .action(listTemplates);
  withCommon(template.command("versions"))
    .description("List the versions of a template, the newest first, and what became of their jobs.")
    .argument("<name>")
    .addOption(limitOption())
    .action(listVersions);
  withCommon(template.command("create"))
    .description("Make a template, or its next version, as a draft: the JSON mapping of CreateTemplateRequest.")
    .requiredOption("-f, --file <path>", "the file; - reads standard input")
    .option("--publish", "and publish it")
    .option("--validate-only", "only check it")
    .action(create);
  withCommon(template.command("update"))
    .description("Give the draft of a template another content, from a file as for create.")
    .requiredOption("-f, --file <path>", "the file; - reads standard input")
    .action(update);
  addMoves(template);
}
