/** `capstan provider …`: the places where jobs run. A provider is named by its name or its id. */
import type { Capstan } from "@capstan/client";
import { Provider, type ProviderKind } from "@capstan/proto/capstan/provider/v1/provider.ts";
import { GetProviderStatsResponse } from "@capstan/proto/capstan/provider/v1/provider_service.ts";
import { type Command, Option } from "commander";
import { buildFilter } from "./filter.ts";
import {
  type CommonOptions,
  collect,
  collectPairs,
  cpuMillis,
  limitOption,
  memoryMib,
  wholeNumber,
  withAddress,
  withCommon,
} from "./options.ts";
import { note, type OutputFormat, print } from "./output.ts";
import { firstItems } from "./pages.ts";
import { changeProvider, type ProviderChange } from "./providerChange.ts";
import { formatProvider, formatProviders, formatStats } from "./providerView.ts";
import { present, withCapstan } from "./session.ts";

async function printProvider(output: OutputFormat, provider: Provider | undefined): Promise<void> {
  const given = present(provider);
  await print(output, Provider.toJSON(given), () => formatProvider(given, new Date()));
}

interface ListOptions extends CommonOptions {
  readonly filter?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly limit: number;
}

async function listProviders({ output, limit, filter, label, ...options }: ListOptions): Promise<void> {
  const wanted = buildFilter({ filter, labels: label });
  await withCapstan(options, async (capstan) => {
    const found = await firstItems(limit, async (page) => {
      const { providers, nextPageToken } = await capstan.providers.listProviders({ ...page, filter: wanted });
      return { items: providers, nextPageToken };
    });
    await print(
      output,
      found.map((provider) => Provider.toJSON(provider)),
      () => formatProviders(found, new Date()),
    );
  });
}

const kinds: Readonly<Record<string, ProviderKind>> = {
  process: "PROVIDER_KIND_PROCESS",
  docker: "PROVIDER_KIND_DOCKER",
};

interface RegisterOptions extends CommonOptions {
  readonly kind: string;
  readonly slots: number;
  readonly cpu?: number;
  readonly memory?: number;
  readonly label?: Readonly<Record<string, string>>;
  readonly endpoint?: string;
}

function register(name: string, options: RegisterOptions): Promise<void> {
  const { slots, cpu: cpuMillis = 0, memory: memoryMib = 0, label = {}, endpoint = "" } = options;
  const kind = kinds[options.kind] ?? "PROVIDER_KIND_UNSPECIFIED";
  const capacity = { slots, cpuMillis, memoryMib };
  return withCapstan(options, async ({ providers }) => {
    const answer = await providers.registerProvider({ name, kind, capacity, labels: label, endpoint });
    if (answer.existed) note("it was there already");
    await printProvider(options.output, answer.provider);
  });
}

function update(name: string, options: CommonOptions & ProviderChange): Promise<void> {
  return withCapstan(options, async ({ providers }) => {
    const current = present((await providers.getProvider({ provider: name })).provider);
    const answer = await providers.updateProvider(changeProvider(current, options));
    await printProvider(options.output, answer.provider);
  });
}

function remove(name: string, options: CommonOptions): Promise<void> {
  return withCapstan(options, async ({ providers }) => {
    await providers.deleteProvider({ provider: name });
    note(`provider ${name} is forgotten`);
  });
}

function printStats(name: string, options: CommonOptions): Promise<void> {
  return withCapstan(options, async ({ providers }) => {
    const stats = await providers.getProviderStats({ provider: name });
    await print(options.output, GetProviderStatsResponse.toJSON(stats), () => formatStats(stats));
  });
}

type Move = (
  providers: Capstan["providers"],
  request: { readonly provider: string },
) => Promise<{ readonly provider: Provider | undefined }>;

/** The commands that only move a provider to another state. */
const moves: Readonly<Record<string, { readonly description: string; readonly move: Move }>> = {
  cordon: {
    description: "Give it no new work; what runs goes on.",
    move: (providers, request) => providers.cordonProvider(request),
  },
  uncordon: {
    description: "Give it work again after cordon.",
    move: (providers, request) => providers.uncordonProvider(request),
  },
  drain: {
    description: "Give it no new work, and disable it once what runs has ended.",
    move: (providers, request) => providers.drainProvider(request),
  },
  activate: {
    description: "Give it work again, whatever state it is in.",
    move: (providers, request) => providers.activateProvider(request),
  },
  deactivate: {
    description: "Disable it; refused while anything runs on it: drain it first.",
    move: (providers, request) => providers.deactivateProvider(request),
  },
};

function addMoves(provider: Command): void {
  for (const [name, { description, move }] of Object.entries(moves)) {
    withCommon(provider.command(name))
      .description(description)
      .argument("<provider>", "name or id")
      .action((id: string, options: CommonOptions) =>
        withCapstan(options, async ({ providers }) => {
          await printProvider(options.output, (await move(providers, { provider: id })).provider);
        }),
      );
  }
}

function withCapacity(command: Command): Command {
  return command
    .option("--cpu <amount>", 'CPU it can hold, such as "4"; 0 is not counted', cpuMillis)
    .option("--memory <amount>", 'memory it can hold, such as "8Gi"; 0Mi is not counted', memoryMib)
    .option("-l, --label <KEY=VALUE>", "what placement constraints are compared with; may be repeated", collectPairs);
}

function addRegisterAndUpdate(provider: Command): void {
  withCapacity(withCommon(provider.command("register")))
    .description("Make a provider known. It takes work once its first probe is good.")
    .argument("<name>")
    .addOption(new Option("--kind <kind>", "what drives it").choices(Object.keys(kinds)).makeOptionMandatory())
    .addOption(
      new Option("--slots <n>", "how many jobs at once").argParser(wholeNumber(1, 100_000)).makeOptionMandatory(),
    )
    .option(
      "--endpoint <url>",
      'where its engine listens, such as "unix:///var/run/docker.sock" (default: of its kind)',
    )
    .action(register);
  withCapacity(withCommon(provider.command("update")))
    .description("Change capacity, labels or endpoint; what is not given stays.")
    .argument("<provider>", "name or id")
    .option("--slots <n>", "how many jobs at once", wholeNumber(1, 100_000))
    .option("--remove-label <key>", "take a label away; may be repeated", collect)
    .option("--endpoint <url>", 'where its engine listens; "" is the default of its kind')
    .action(update);
}

/** Adds the commands to `capstan provider`. */
export function addProviderCommands(provider: Command): void {
  withCommon(provider.command("list"))
    .description("List providers by name.")
    .option("--filter <filter>", "AIP-160, such as: kind = DOCKER AND health = HEALTHY")
    .option("-l, --label <KEY=VALUE>", "only with this label; may be repeated", collectPairs)
    .addOption(limitOption())
    .action(listProviders);
  withCommon(provider.command("get"))
    .description("Show one provider.")
    .argument("<provider>", "name or id")
    .action((id: string, options: CommonOptions) =>
      withCapstan(options, async ({ providers }) => {
        await printProvider(options.output, (await providers.getProvider({ provider: id })).provider);
      }),
    );
  addRegisterAndUpdate(provider);
  addMoves(provider);
  withAddress(provider.command("delete"))
    .description("Forget a provider; refused while anything runs on it.")
    .argument("<provider>", "name or id")
    .action(remove);
  withCommon(provider.command("stats"))
    .description("Show what a provider holds and has done.")
    .argument("<provider>", "name or id")
    .action(printStats);
}
