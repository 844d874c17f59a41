/** What stands around every screen: the navigation, whether the platform answers, the keys, and the screen itself. */
import { computed, signal } from "@preact/signals";
import { html } from "htm/preact";
import type { FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { connection, isUp, nextTryTime } from "./connection.ts";
import { isHelpShown, KeyHelp } from "./keys.ts";
import { liveState } from "./live.ts";
import { now } from "./query.ts";
import { link, match, path } from "./router.ts";
import { home, navigation, type ScreenProps, screens } from "./screens.ts";
import { nextTheme, theme } from "./theme.ts";
import { Questions } from "./ui/dialog.ts";
import { Icon } from "./ui/icon.ts";
import { Empty, Failure, Loading } from "./ui/states.ts";
import { Toasts } from "./ui/toast.ts";

const isNavigationOpen = signal(false);

const found = computed(() => {
  const current = path.value === "" ? home : path.value;
  for (const screen of screens) {
    const parameters = match(screen.pattern, current);
    if (parameters !== null) return { screen, parameters };
  }
  return null;
});

function Navigation() {
  const current = path.value === "" ? home : path.value;
  return html`<nav class="navigation" aria-label="Screens">
    ${navigation.map(
      ({ title, entries }) => html`<div key=${title}>
        <h2>${title}</h2>
        <ul>
          ${entries.map(
            (entry) => html`<li key=${entry.pattern}>
              <a href=${link(entry.pattern === home ? "" : entry.pattern)} title=${`${entry.title} (g ${entry.key})`}
                aria-current=${current === entry.pattern || current.startsWith(`${entry.pattern}/`) ? "page" : undefined}
                onMouseEnter=${() => void entry.load().catch(() => {})}
                onClick=${() => {
                  isNavigationOpen.value = false;
                }}><${Icon} name=${entry.icon} />${entry.title}</a>
            </li>`,
          )}
        </ul>
      </div>`,
    )}
  </nav>`;
}

const themeTitles = { auto: "Theme of the system", light: "Light theme", dark: "Dark theme" } as const;
const liveTitles = { off: "", connecting: "Connecting", on: "Live", lost: "Not live" } as const;

function Live() {
  const state = isUp.value ? liveState.value : "lost";
  const title = liveTitles[state];
  return html`<span class=${`live ${state}`} role="status">${title !== "" && html`<i aria-hidden="true"></i>${title}`}</span>`;
}

/** Says that the gateway is gone, and when it is asked again. */
function Outage() {
  if (isUp.value) return null;
  const seconds = Math.max(0, Math.ceil((nextTryTime.value - now.value) / 1_000));
  return html`<div class="outage" role="alert">
    <${Icon} name="alert" />
    <span><strong>The platform does not answer.</strong> What is shown is how it was; this page goes on by itself.${" "}
      <span class="quiet">${nextTryTime.value === 0 ? "Asking…" : `Asks again in ${seconds} s.`}</span></span>
    <button type="button" class="button small" onClick=${connection.tryNow}>Ask now</button>
  </div>`;
}

function CurrentScreen() {
  const screen = found.value?.screen;
  const [loaded, setLoaded] = useState<{ pattern: string; Screen?: FunctionComponent<ScreenProps>; error?: Error }>({
    pattern: "",
  });
  useEffect(() => {
    if (screen === undefined || loaded.pattern === screen.pattern) return;
    screen.load().then(
      ({ Screen }) => setLoaded({ pattern: screen.pattern, Screen }),
      (error: Error) => setLoaded({ pattern: screen.pattern, error }),
    );
  }, [screen]);
  if (found.value === null || screen === undefined) {
    return html`<${Empty} title="There is no such screen">The address <code>${path.value}</code> leads nowhere. <a href=${link("")}>Go to the start</a></${Empty}>`;
  }
  if (loaded.pattern !== screen.pattern) return html`<${Loading} lines=${6} />`;
  if (loaded.Screen === undefined) {
    const error = loaded.error ?? new Error("the screen could not be loaded");
    return html`<${Failure} error=${error} onRetry=${() => location.reload()} />`;
  }
  return html`<${loaded.Screen} key=${path.value} parameters=${found.value.parameters} />`;
}

export function Shell() {
  return html`<a class="skip" href="#main" onClick=${(event: Event) => {
    event.preventDefault();
    document.querySelector<HTMLElement>("main")?.focus();
  }}>Skip to the content</a>
  <div class=${`shell${isNavigationOpen.value ? " open" : ""}`}>
    <header class="bar">
      <button type="button" class="bare only-narrow" aria-label="Screens" aria-expanded=${isNavigationOpen.value} onClick=${() => {
        isNavigationOpen.value = !isNavigationOpen.value;
      }}><${Icon} name=${isNavigationOpen.value ? "close" : "menu"} size=${20} /></button>
      <a class="brand" href=${link("")}><img src=${new URL("icon.svg", import.meta.url).href} alt="" width="24" height="24" />Capstan</a>
      <span class="grow"></span>
      <${Live} />
      <button type="button" class="bare" title="Keys (?)" aria-label="Keys" onClick=${() => {
        isHelpShown.value = true;
      }}><kbd>?</kbd></button>
      <button type="button" class="bare" title=${themeTitles[theme.value]} aria-label=${`${themeTitles[theme.value]}; change`} onClick=${nextTheme}><${Icon} name=${theme.value} /></button>
    </header>
    <${Navigation} />
    <main tabindex="-1" id="main"><${Outage} /><${CurrentScreen} /></main>
  </div>
  <${Toasts} /><${Questions} /><${KeyHelp} />`;
}
