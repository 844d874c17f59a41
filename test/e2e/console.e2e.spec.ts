/** The console as a person uses it: a browser in front of a gateway that serves it below a path, and the real platform behind. */
import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { run, sh } from "../support/jobs.ts";
import { findChromium, findSeriousFaults, useBrowser } from "../support/useBrowser.ts";
import { useGateway } from "../support/useGateway.ts";
import { usePlatform } from "../support/usePlatform.ts";

const chromium = findChromium();
if (chromium === null)
  console.warn("the console is not tested: there is no Chromium here; apt-get install chromium brings one");

// A browser beside a platform of five processes: on a busy machine a screen takes seconds.
describe.skipIf(chromium === null)("the console", { timeout: 240_000 }, () => {
  const platform = usePlatform();
  const gateway = useGateway(platform, { CAPSTAN_PUBLIC_PATH: "/capstan/" });
  const browser = useBrowser(chromium ?? "");
  const at = (path: string) => `${gateway().url}/capstan/${path}`;

  async function typeSpec(page: Page, text: string): Promise<void> {
    await page.getByLabel("The job as YAML").fill(text);
  }

  async function submitText(page: Page, text: string): Promise<string> {
    await typeSpec(page, text);
    await page.getByText("Good to go").waitFor();
    await page.getByRole("button", { name: "Submit the job" }).click();
    await page.waitForURL(/\/capstan\/jobs\/[0-9a-f-]{36}$/);
    return page.url().split("/").at(-1) ?? "";
  }

  test("a job is submitted, its graph changes as its steps run, and the log of a step is read while it is written", async () => {
    const page = await browser.open(at("new"));
    await submitText(
      page,
      `name: two-steps
steps:
  - name: first
    script: { content: 'for i in 1 2 3 4 5 6; do echo "line $i"; sleep 0.5; done' }
  - name: second
    depends_on: [first]
    command: [echo, second is here]
`,
    );
    const step = (name: string, state: string) => page.getByRole("button", { name: new RegExp(`${name}.*${state}`) });
    await step("first", "running").waitFor();
    await step("second", "blocked").waitFor();
    const log = page.getByRole("log");
    await log.getByText("line 2").waitFor();
    expect(await page.getByText(/being written/).count()).toBe(1);
    await step("second", "succeeded").waitFor();
    await step("first", "succeeded").click();
    await log.getByText("line 6").waitFor();
    await page.getByLabel("Find in the output").fill("line 4");
    await page.getByText("1 of 1").waitFor();
    await page.getByRole("link", { name: /^Events \d/ }).click();
    await page.getByText("job succeeded").waitFor();
    await page.getByRole("link", { name: "Timeline" }).click();
    await expectCount(page.locator(".lane .segment.good"), 2);
  });

  test("where no WebSocket comes through, a job is followed all the same, and its log read while it is written", async () => {
    const page = await browser.open(at(""));
    await page.routeWebSocket(/\/api\/v1\/live$/, (socket) => socket.close());
    await page.goto(at("new"));
    await submitText(
      page,
      "name: unheard\nsteps:\n  - script: { content: 'for i in $(seq 1 40); do echo \"line $i\"; sleep 0.5; done' }\n",
    );
    await page.getByText("Not live").waitFor();
    const log = page.getByRole("log");
    await log.getByText("line 2").first().waitFor();
    await page.getByText(/being written/).waitFor();
    await log.getByText("line 40").waitFor();
    await page.getByText(/40 lines.*sealed/).waitFor();
    await page.locator("header.head").getByText("succeeded", { exact: true }).waitFor();
  });

  test("what is wrong with a job is told as one types, at its line and at its field", async () => {
    const page = await browser.open(at("new"));
    await typeSpec(page, "name: bad\nsteps:\n  - command: [sleep, '60']\n    run_timeout: soon\n    colour: red\n");
    await page.getByText("2 problems").waitFor();
    await expectCount(page.locator(".gutter .wrong"), 2);
    expect(await page.getByRole("button", { name: "Submit the job" }).isDisabled()).toBe(true);
    await typeSpec(page, "name: [broken\n");
    await page.getByText("The text is not YAML").waitFor();
    await typeSpec(page, "name: mended\nsteps:\n  - command: [echo, hi]\n");
    await page.getByText("Good to go").waitFor();
    await page.getByLabel("Name").first().fill("renamed");
    expect(await page.getByLabel("The job as YAML").inputValue()).toContain("name: renamed");
  });

  test("a job is cancelled only after one was asked and told what that does", async () => {
    const page = await browser.open(at("new"));
    await submitText(page, "name: long\nsteps:\n  - command: [sleep, '600']\n    stop_grace: 1s\n");
    const heading = page.locator("header.head");
    await heading.getByText("running", { exact: true }).waitFor();
    await heading.getByRole("button", { name: "Cancel" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(/asked to stop, and killed after its grace/).waitFor();
    await dialog.getByRole("button", { name: "Keep as it is" }).click();
    expect(await page.getByRole("dialog").count()).toBe(0);
    await heading.getByRole("button", { name: "Cancel" }).click();
    await dialog.getByLabel("Why").fill("seen enough");
    await dialog.getByRole("button", { name: "Cancel the job" }).click();
    await heading.getByText("cancelled", { exact: true }).waitFor();
    await heading.getByText(/seen enough/).waitFor();
  });

  test("a person approves what waits for it, and the job goes on", async () => {
    const page = await browser.open(at("new"));
    await submitText(
      page,
      "name: gate\nsteps:\n  - name: decide\n    approval: { message: May it go on? }\n  - name: after\n    depends_on: [decide]\n    command: ['true']\n",
    );
    await page.getByText("May it go on?").first().waitFor();
    await page.getByLabel("Who decides").fill("Ada");
    await page.getByRole("button", { name: /^Approve/ }).click();
    await page.locator("header.head").getByText("succeeded", { exact: true }).waitFor();
  });

  test("the list shows new jobs and new states by itself, filters them in the API's language, and acts on many", async () => {
    const page = await browser.open(at("jobs"));
    await page.getByRole("heading", { name: "Jobs" }).waitFor();
    await run(platform().capstan, { command: ["false"] }, { name: "listed", labels: { team: "red" } });
    await page.getByRole("row", { name: /listed.*failed/ }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type('state = FAILED AND labels.team = "red"');
    await page.keyboard.press("Enter");
    await expectCount(page.getByRole("row"), 2);
    expect(new URL(page.url()).searchParams.get("filter")).toBe('state = FAILED AND labels.team = "red"');
    await page.getByRole("checkbox", { name: "Select all that are loaded" }).check();
    await page.getByRole("button", { name: "Run again" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Run it again" }).click();
    await page.getByRole("link", { name: "retry of another" }).waitFor();
    await page.goto(at("jobs?filter=colour+%3D+red"));
    await page.getByText(/unknown field "colour"/).waitFor();
  });

  test("a thousand jobs are scrolled through with only those on the screen drawn", async () => {
    // Nothing of them runs.
    const spec = { name: "many", steps: [{ command: ["true"], when: "false" }] };
    const body = JSON.stringify({ requests: Array.from({ length: 1_000 }, () => ({ spec })) });
    const headers = { "content-type": "application/json" };
    expect((await fetch(at("api/v1/jobs:batchSubmit"), { method: "POST", headers, body })).status).toBe(200);
    const page = await browser.open(at(`jobs?filter=${encodeURIComponent('name = "many"')}`));
    await page.getByRole("row", { name: /many/ }).first().waitFor();
    await eventually(async () => {
      await page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)");
      expect(await page.getByText("1,000 jobs", { exact: true }).count()).toBe(1);
    });
    expect(await page.getByRole("row").count()).toBeLessThan(80);
    await page.getByRole("row", { name: /many/ }).last().getByRole("link").focus();
    await page.keyboard.press("Home");
    await eventually(async () => expect(await page.evaluate("window.scrollY")).toBeLessThan(400));
  });

  test("the keys lead from screen to screen and from row to row", async () => {
    const page = await browser.open(at(""));
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await page.keyboard.press("g");
    await page.keyboard.press("j");
    await page.getByRole("row").nth(2).waitFor();
    await page.getByRole("row").nth(1).getByRole("link").focus();
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.getByRole("link", { name: "Timeline" }).waitFor();
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await page.keyboard.press("Escape");
    expect(await page.getByRole("dialog").count()).toBe(0);
  });

  test("a gateway that is gone is told at once, what was read stays, and the page goes on by itself when it is back", async () => {
    const page = await browser.open(at("jobs"));
    await page.getByRole("row").nth(1).waitFor();
    await gateway().process.kill("SIGKILL");
    await page.getByText("The platform does not answer.").waitFor();
    expect(await page.getByRole("row").count()).toBeGreaterThan(1);
    await gateway().process.start();
    await page.getByText("The platform does not answer.").waitFor({ state: "detached" });
    await run(platform().capstan, { command: ["true"] }, { name: "after-the-outage" });
    await page.getByRole("row", { name: /after-the-outage.*succeeded/ }).waitFor();
  });

  test.each([
    "light",
    "dark",
  ] as const)("axe finds nothing serious on any screen for those who run jobs in the %s theme, and none is wider than its window", async (theme) => {
    const job = await run(platform().capstan, sh("echo out; echo err >&2; exit 3"), { name: `ends-badly-${theme}` });
    const list = `jobs?filter=${encodeURIComponent(`name = "${job.spec?.name}"`)}`;
    const tabs = ["", "?tab=timeline", "?tab=facts", "?tab=input", "?tab=spec"].map((tab) => `jobs/${job.id}${tab}`);
    const page = await browser.open(at(""), { colorScheme: theme });
    const faults: object[] = [];
    for (const path of ["", list, "new", ...tabs, "nowhere"]) {
      await page.goto(at(path));
      await page.locator("main h1, main h3").first().waitFor();
      await expectCount(page.getByLabel("Loading"), 0);
      // Another theme is other colours and nothing else.
      const found = await findSeriousFaults(page, theme === "dark" ? "color-contrast" : undefined);
      faults.push(...found.map((fault) => ({ path, ...fault })));
      for (const width of theme === "dark" ? [] : [400, 2_560, 1_280]) {
        await page.setViewportSize({ width, height: 900 });
        await eventually(async () => {
          const over = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth");
          expect(over, `${path} at ${width}`).toBeLessThanOrEqual(0);
        });
      }
    }
    expect(faults).toEqual([]);
  });
});

async function expectCount(locator: { count(): Promise<number> }, count: number): Promise<void> {
  await eventually(async () => expect(await locator.count()).toBe(count));
}
