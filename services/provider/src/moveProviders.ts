/** The one way a provider that exists is moved: apply what was decided, save all, append their facts. */
import { appendFacts, type Db } from "@capstan/postgres";
import { apply, type Provider, type ProviderEvent } from "./provider.ts";
import { factOf } from "./providerProto.ts";
import { deleteProvider, saveProviders } from "./providerStore.ts";

/** A locked provider and what shall happen to it; without events it stays as it is. */
export interface Move {
  readonly before: Provider;
  readonly events: readonly ProviderEvent[];
}

/** When moves happen, and the trace they belong to. */
export interface Moment {
  readonly now: Date;
  readonly traceparent: string | null;
}

/** Inside the transaction in which the providers were locked. Gives each back as it is now, in the same order. */
export async function moveProviders(
  db: Db,
  moves: readonly Move[],
  { now, traceparent }: Moment,
): Promise<readonly Provider[]> {
  const paths = moves.map((move) => pathOf(move, now));
  const moving = paths.filter((path) => path.length > 0);
  const facts = moving.flatMap((path) =>
    path.map(({ before, event, after }) => factOf(before, event, after, traceparent)),
  );
  const forgotten = moving.flatMap((path) => path.filter(({ event }) => event.type === "deleted"));
  if (moving.length > 0) {
    // Not one after the other: on one connection they run in this order anyway, and leave in one packet.
    await Promise.all([
      saveProviders(db, moving.map(endsOf)),
      ...forgotten.map(({ after }) => deleteProvider(db, after)),
      appendFacts(
        db,
        facts.filter((fact) => fact !== null),
      ),
    ]);
  }
  return moves.map(({ before }, index) => paths[index]?.at(-1)?.after ?? before);
}

interface Step {
  readonly before: Provider;
  readonly event: ProviderEvent;
  readonly after: Provider;
}

function pathOf({ before: first, events }: Move, now: Date): readonly Step[] {
  let before = first;
  return events.map((event) => {
    const step = { before, event, after: apply(before, event, now) };
    before = step.after;
    return step;
  });
}

function endsOf(path: readonly Step[]): { readonly before: Provider; readonly after: Provider } {
  const [first, last] = [path.at(0), path.at(-1)];
  if (first === undefined || last === undefined) throw new Error("a path without a step");
  return { before: first.before, after: last.after };
}
