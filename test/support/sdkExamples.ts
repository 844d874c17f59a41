/** The programs of docs/sdk.md: what the page shows of each, and what it says that it prints. */
import { readdirSync, readFileSync } from "node:fs";

const root = new URL("../../", import.meta.url);

export interface SdkExample {
  /** Such as `quickStart.ts`. */
  readonly name: string;
  readonly code: string;
  readonly prints: string;
}

/** In the order of the page. */
export function examplesOfPage(): readonly SdkExample[] {
  const page = readFileSync(new URL("docs/sdk.md", root), "utf8");
  const shown = page.matchAll(
    /^\[examples\/sdk\/(\w+\.ts)\]\(\.\.\/examples\/sdk\/\1\)\n\n```ts\n(.*?)```\n\n```text\n(.*?)```$/gms,
  );
  return [...shown].map(([, name = "", code = "", prints = ""]) => ({ name, code, prints }));
}

export function exampleFiles(): readonly { readonly name: string; readonly code: string }[] {
  const folder = new URL("examples/sdk/", root);
  return readdirSync(folder).map((name) => ({ name, code: readFileSync(new URL(name, folder), "utf8") }));
}
