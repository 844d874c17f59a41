/** What probes saw, written down only where it changes something: probes come all the time, and an idle platform writes nothing. */
import { inTransaction, type Pool } from "@capstan/postgres";
import { moveProviders } from "./moveProviders.ts";
import { apply, observe, type Provider, type ProviderEvent } from "./provider.ts";
import { findProviders, lockProviders } from "./providerStore.ts";

export interface Observation {
  readonly providerId: string;
  readonly isGood: boolean;
  readonly message: string;
}

/** Notes the observations in their order; those of providers that are gone are passed over. */
export async function noteHealth(
  pool: Pool,
  observations: readonly Observation[],
  threshold: number,
  traceparent: string | null,
): Promise<void> {
  const seen = Map.groupBy(observations, ({ providerId }) => providerId);
  const decide = (provider: Provider) => observeAll(provider, seen.get(provider.id) ?? [], threshold);
  const changing = (await findProviders(pool, [...seen.keys()])).filter((provider) => decide(provider).length > 0);
  if (changing.length === 0) return;
  await inTransaction(pool, async (db) => {
    const { providers, now } = await lockProviders(
      db,
      changing.map(({ id }) => id),
    );
    const moves = providers.map((before) => ({ before, events: decide(before) }));
    await moveProviders(db, moves, { now, traceparent });
  });
}

/** Each observation is of the provider as the ones before it have left it; their times do not matter to the rule. */
function observeAll(
  provider: Provider,
  observations: readonly Observation[],
  threshold: number,
): readonly ProviderEvent[] {
  const events: ProviderEvent[] = [];
  let now = provider;
  for (const observation of observations) {
    const next = observe(now, observation, threshold);
    events.push(...next);
    now = next.reduce((before, event) => apply(before, event, provider.updateTime), now);
  }
  return events;
}
