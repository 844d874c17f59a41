/** Where jobs run: how each provider is, how full, what can be done with it; and the workers that are connected. */
import { html } from "htm/preact";
import { humanWord, plural } from "../format.ts";
import type { Provider, Worker } from "../json.ts";
import { useFacts, useList } from "../list.ts";
import { Capacities, ProviderActions } from "../providerActions.ts";
import { link, query } from "../router.ts";
import { StateChip } from "../ui/chip.ts";
import { Head, Labels, Tabs } from "../ui/layout.ts";
import { Empty, Loaded } from "../ui/states.ts";
import { Age } from "../ui/time.ts";
import { Workers } from "./workers.ts";

const freshMs = 4_000;

function ProviderCard({ provider, onDone }: { provider: Provider; onDone: () => void }) {
  const { name = "", kind, state, health, healthMessage, labels } = provider;
  const isPool = kind === "PROVIDER_KIND_WORKER";
  return html`<article class="panel card" aria-label=${name}>
    <header>
      <h2><a href=${link(`providers/${name}`)}>${name}</a></h2>
      <span class="row-gap"><${StateChip} state=${state} /><${StateChip} state=${health} /></span>
    </header>
    <p class="quiet small cut" title=${healthMessage}>${isPool ? "worker pool" : humanWord(kind)}${healthMessage ? `, ${healthMessage}` : ""}</p>
    <${Capacities} provider=${provider} />
    <${Labels} labels=${labels} />
    <footer class="actions"><${ProviderActions} provider=${provider} onDone=${onDone} /></footer>
  </article>`;
}

function Providers({ providers }: { providers: ReturnType<typeof useProviders> }) {
  return html`<${Loaded} query=${providers}>${({ items, hasMore }: { items: readonly Provider[]; hasMore: boolean }) =>
    items.length === 0
      ? html`<section class="panel flush"><${Empty} icon="provider" title="No provider">
          Jobs wait until there is one. <code>npx capstan provider register</code> makes one known; a worker makes its pool known by itself.
        </${Empty}></section>`
      : html`<div class="grid even cards">${items.map((provider) => html`<${ProviderCard} key=${provider.id} provider=${provider} onDone=${providers.reload} />`)}</div>
          ${hasMore && html`<p class="more-line"><button type="button" class="button" onClick=${providers.more}>Show more</button></p>`}`}</${Loaded}>`;
}

function useProviders() {
  return useList<Provider>("providers", "providers", {}, { everyMs: freshMs });
}

export function Screen() {
  const tab = query.value.get("tab") ?? "providers";
  const providers = useProviders();
  const workers = useList<Worker>("workers", "workers", {}, { everyMs: freshMs });
  useFacts(["provider.*", "worker.*"], () => {
    providers.reload();
    workers.reload();
  });
  const unwell = (providers.data?.items ?? []).filter(({ health }) => /_(UNHEALTHY|DEGRADED)$/.test(health ?? ""));
  const tabs = [
    { id: "providers", title: "Providers", ...countOf(providers.data?.items) },
    { id: "workers", title: "Workers", ...countOf(workers.data?.items) },
  ];
  return html`<${Head} title="Providers and workers">
      <span>The places where jobs run.</span>
      ${unwell.length > 0 && html`<span>${plural(unwell.length, "provider")} not well, longest for <${Age} time=${unwell.map(({ healthTime }) => healthTime ?? "").sort()[0]} /></span>`}
    </${Head}>
    <${Tabs} label="Providers and workers" tabs=${tabs} />
    ${tab === "workers" ? html`<${Workers} workers=${workers} />` : html`<${Providers} providers=${providers} />`}`;
}

function countOf(items: readonly unknown[] | undefined): { readonly count?: number } {
  return items === undefined ? {} : { count: items.length };
}
