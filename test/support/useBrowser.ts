/** A browser for the tests of the console: the machine's own Chromium. Where there is none, those tests are left out and say so. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll } from "vitest";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** Path of the machine's Chromium, or of the one in CAPSTAN_TEST_CHROMIUM; null if there is none. */
export function findChromium(): string | null {
  const given = process.env["CAPSTAN_TEST_CHROMIUM"];
  const directories = (process.env["PATH"] ?? "").split(delimiter);
  const candidates = [given ?? "", ...names.flatMap((name) => directories.map((directory) => join(directory, name)))];
  return candidates.find((path) => path !== "" && existsSync(path)) ?? null;
}

export function launchChromium(executablePath: string): Promise<Browser> {
  // Without a sandbox of its own, which root and most containers do not give it; only our own pages are opened.
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

export interface TestBrowser {
  /** A page of its own, with its own storage; closed after the test. What it throws fails the test. */
  open(url: string, options?: BrowserContextOptions): Promise<Page>;
}

/** Call it once at the top of a spec file that is skipped when `findChromium` finds none. */
export function useBrowser(executablePath: string): TestBrowser {
  let browser: Browser | null = null;
  const thrown: Error[] = [];
  beforeAll(async () => {
    browser = await launchChromium(executablePath);
  });
  afterEach(async () => {
    await Promise.all((browser?.contexts() ?? []).map((context) => context.close()));
    const errors = thrown.splice(0);
    if (errors.length > 0) throw new AggregateError(errors, `the page threw: ${errors.map(({ message }) => message)}`);
  });
  afterAll(async () => {
    await browser?.close();
  });
  return {
    async open(url, options = {}) {
      if (browser === null) throw new Error("the browser is there only inside of tests");
      const context = await browser.newContext({ viewport: { width: 1_280, height: 900 }, ...options });
      const page = await context.newPage();
      page.setDefaultTimeout(90_000);
      page.on("pageerror", (error) => thrown.push(error));
      await page.goto(url);
      return page;
    },
  };
}

export interface AxeFinding {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly string[];
}

const axeSource = readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe finds on a page that is serious or worse; by all of its rules, or by one of them. */
export async function findSeriousFaults(page: Page, rule?: string): Promise<readonly AxeFinding[]> {
  await page.evaluate(await axeSource);
  return page.evaluate(async (only) => {
    const { axe } = globalThis as unknown as {
      axe: { run(options: object): Promise<{ violations: readonly Violation[] }> };
    };
    interface Violation {
      readonly id: string;
      readonly impact: string;
      readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
    }
    const { violations } = await axe.run(only === undefined ? {} : { runOnly: [only] });
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, impact, nodes }) => ({
        id,
        impact,
        nodes: nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 200)} ${failureSummary}`),
      }));
  }, rule);
}
