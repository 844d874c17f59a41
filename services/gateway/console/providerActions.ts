/** What can be done with a provider, and how full it is. What takes work away asks once and says what it will do. */
import { html } from "htm/preact";
import { post } from "./api.ts";
import { enumWord, plural } from "./format.ts";
import { act } from "./jobActions.ts";
import type { Provider } from "./json.ts";
import { Meter } from "./ui/chart.ts";
import { ask } from "./ui/dialog.ts";

interface Filling {
  readonly name: string;
  readonly used: number;
  readonly of: number;
  readonly unit: string;
}

/** What is counted of it: CPU and memory only if somebody has said how much there is. */
function capacities({ capacity = {}, reserved = {} }: Provider): readonly Filling[] {
  const all: readonly Filling[] = [
    { name: "Slots", used: reserved.slots ?? 0, of: capacity.slots ?? 0, unit: "" },
    { name: "CPU", used: (reserved.cpuMillis ?? 0) / 1_000, of: (capacity.cpuMillis ?? 0) / 1_000, unit: "cores" },
    { name: "Memory", used: reserved.memoryMib ?? 0, of: capacity.memoryMib ?? 0, unit: "MiB" },
  ];
  return all.filter(({ used, of }) => used > 0 || of > 0);
}

/** A meter for each. */
export function Capacities({ provider }: { provider: Provider }) {
  const meters = capacities(provider);
  if (meters.length === 0) return html`<p class="quiet small">No worker is connected, so it has no place.</p>`;
  return html`<div class="meters">${meters.map(
    ({ name, used, of, unit }) =>
      html`<div key=${name}><span class="quiet small">${name}</span><${Meter} label=${`${name} of ${provider.name}`} used=${used} of=${of} unit=${unit} /></div>`,
  )}</div>`;
}

type Verb = "cordon" | "uncordon" | "drain" | "activate" | "deactivate";

const done: Readonly<Record<Verb, string>> = {
  cordon: "takes no new work",
  uncordon: "takes work again",
  drain: "is emptying",
  activate: "takes work again",
  deactivate: "is disabled",
};

/** What each does, for those that take work away. */
function warningOf(verb: Verb, { name = "", reserved }: Provider): { text: string; verb: string } | null {
  const slots = reserved?.slots ?? 0;
  const running =
    slots === 0 ? "Nothing runs on it now." : `What runs on it now (${plural(slots, "slot")}) goes on to its end.`;
  if (verb === "cordon") {
    return {
      verb: "Cordon it",
      text: `No new work is placed on ${name} until it is uncordoned. ${running} Jobs that fit nowhere else wait.`,
    };
  }
  if (verb === "drain") {
    const end = slots === 0 ? "It is disabled at once" : "Once that has ended, it is disabled";
    return {
      verb: "Drain it",
      text: `No new work is placed on ${name}. ${running} ${end}, and stays so until it is activated. Jobs that fit nowhere else wait.`,
    };
  }
  if (verb === "deactivate") {
    return {
      verb: "Deactivate it",
      text: `${name} takes no work until it is activated. This is refused while anything runs on it: drain it first.`,
    };
  }
  return null;
}

async function move(verb: Verb, provider: Provider, onDone: () => void): Promise<void> {
  const { name = "" } = provider;
  const warning = warningOf(verb, provider);
  if (warning !== null) {
    const title = `${verb.charAt(0).toUpperCase()}${verb.slice(1)} “${name}”?`;
    if ((await ask({ title, ...warning, isDestructive: verb !== "cordon" })) === null) return;
  }
  await act(() => post(`providers/${encodeURIComponent(name)}:${verb}`), `${name} ${done[verb]}`);
  onDone();
}

const verbsFrom: Readonly<Record<string, readonly (readonly [Verb, string])[]>> = {
  ACTIVE: [
    ["cordon", "Cordon"],
    ["drain", "Drain"],
    ["deactivate", "Deactivate"],
  ],
  CORDONED: [
    ["uncordon", "Uncordon"],
    ["drain", "Drain"],
    ["deactivate", "Deactivate"],
  ],
  DRAINING: [["activate", "Activate"]],
  DISABLED: [["activate", "Activate"]],
};

/** A button for each move that its state allows. */
export function ProviderActions({ provider, onDone }: { provider: Provider; onDone: () => void }) {
  const verbs = verbsFrom[enumWord(provider.state)] ?? [];
  return verbs.map(
    ([verb, title]) =>
      html`<button type="button" key=${verb} class="button small" aria-label=${`${title} ${provider.name}`} onClick=${() => void move(verb, provider, onDone)}>${title}</button>`,
  );
}
