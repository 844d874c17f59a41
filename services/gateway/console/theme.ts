/** Light or dark: as the system says, unless a person has chosen. */
import { signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";

const key = "capstan.theme";
const order: readonly Theme[] = ["auto", "light", "dark"];

export const theme = signal<Theme>(order.find((each) => each === localStorage.getItem(key)) ?? "auto");

function show(): void {
  document.documentElement.dataset["theme"] = theme.value;
}

/** The next of auto, light and dark. */
export function nextTheme(): void {
  theme.value = order[(order.indexOf(theme.value) + 1) % order.length] ?? "auto";
  localStorage.setItem(key, theme.value);
  show();
}

show();
