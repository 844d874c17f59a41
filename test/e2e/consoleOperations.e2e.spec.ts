/** What an operator does in the console: a browser in front of a gateway, and the real platform behind. */
import { jetstream } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { readSubject, withNats } from "../support/broker.ts";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { run, sh, submit } from "../support/jobs.ts";
import { findChromium, findSeriousFaults, useBrowser } from "../support/useBrowser.ts";
import { askApi, useGateway } from "../support/useGateway.ts";
import { usePlatform } from "../support/usePlatform.ts";

const chromium = findChromium();
if (chromium === null)
  console.warn("the console is not tested: there is no Chromium here; apt-get install chromium brings one");

// A browser beside a platform of five processes: on a busy machine a screen takes seconds.
describe.skipIf(chromium === null)("an operator in the console", { timeout: 240_000 }, () => {
  const platform = usePlatform();
  const gateway = useGateway(platform);
  const browser = useBrowser(chromium ?? "");
  const at = (path: string) => `${gateway().url}/${path}`;
  const head = (page: Page) => page.locator("header.head");

  /** What axe finds serious in either theme, as the page is now; and it is never wider than its window. */
  async function faultsOf(page: Page, place: string): Promise<readonly object[]> {
    const faults: object[] = [];
    await eventually(async () => expect(await page.getByLabel("Loading").count()).toBe(0));
    for (const colorScheme of ["dark", "light"] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      faults.push(...(await findSeriousFaults(page)).map((fault) => ({ place, colorScheme, ...fault })));
    }
    for (const width of [400, 2_560, 1_280]) {
      await page.setViewportSize({ width, height: 900 });
      await eventually(async () => {
        const over = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth");
        expect(over, `${place} at ${width}`).toBeLessThanOrEqual(0);
      });
    }
    return faults;
  }

  test("drains a provider after being told what that does, sees it become disabled when it is empty, and takes it back", async () => {
    const { id } = await submit(platform().capstan, sh("sleep 600", { stopGrace: { seconds: 1, nanos: 0 } }));
    const page = await browser.open(at("providers"));
    const card = page.getByRole("article", { name: "local" });
    await card.getByRole("meter", { name: "Slots of local" }).getByText("1 of 64").waitFor();
    await card.getByRole("button", { name: "Drain local" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(/goes on to its end. Once that has ended, it is disabled/).waitFor();
    await dialog.getByRole("button", { name: "Keep as it is" }).click();
    await card.getByText("active", { exact: true }).waitFor();
    await card.getByRole("button", { name: "Drain local" }).click();
    await dialog.getByRole("button", { name: "Drain it" }).click();
    await card.getByText("draining", { exact: true }).waitFor();
    await card.getByRole("link", { name: "local" }).click();
    await page.getByRole("table", { name: "Running now" }).getByText("running").waitFor();
    await platform().capstan.jobs.cancelJob({ jobId: id, message: "" });
    await head(page).getByText("disabled", { exact: true }).waitFor();
    await page.getByText("Nothing runs here now").waitFor();
    await page.getByRole("button", { name: "Activate local" }).click();
    await head(page).getByText("active", { exact: true }).waitFor();
    await page.context().close();
  });

  test("makes a queue with limits, pauses it, retries what is parked in it, and lets it go on", async () => {
    const page = await browser.open(at("queues"));
    const dialog = page.getByRole("dialog");
    await page.getByRole("button", { name: "New queue" }).click();
    await dialog.getByLabel("Name").fill("narrow");
    await dialog.getByLabel("Weight").fill("5000");
    await dialog.getByLabel("At once", { exact: true }).fill("1");
    await dialog.getByRole("button", { name: "Make the queue" }).click();
    await dialog
      .getByText(/1,?000/)
      .last()
      .waitFor();
    expect(await faultsOf(page, "the form of a queue with a bad field")).toEqual([]);
    await dialog.getByLabel("Weight").fill("3");
    await dialog.getByRole("button", { name: "Make the queue" }).click();
    const row = page.getByRole("row", { name: /narrow/ });
    await row.getByText("1 at once").waitFor();
    await row.getByRole("button", { name: "Pause the queue narrow" }).click();
    await dialog.getByLabel("Why").fill("the door is shut");
    await dialog.getByRole("button", { name: "Pause the queue" }).click();
    await row.getByText("paused", { exact: true }).waitFor();

    const { id } = await submit(platform().capstan, sh("true"), { name: "waits", queue: "narrow" });
    await row.getByRole("link", { name: "narrow" }).click();
    await head(page).getByText("the door is shut").waitFor();
    await page.getByRole("table", { name: "What waits" }).getByText("queue paused", { exact: true }).waitFor();
    await park(id);

    await page.getByRole("link", { name: "Sagas" }).click();
    await page.getByText("1 saga parked: it needs a person").waitFor();
    await page.getByRole("button", { name: "parked 1" }).click();
    await page.getByRole("button", { name: "reserved 0" }).waitFor();
    expect(await faultsOf(page, "sagas that are parked")).toEqual([]);
    await page.getByRole("table", { name: "Sagas" }).getByRole("link").first().click();
    await page.getByRole("button", { name: "Force its end" }).waitFor();
    expect(await faultsOf(page, "a saga that is parked")).toEqual([]);
    await page.getByRole("button", { name: "Force its end" }).click();
    expect(await faultsOf(page, "the question before an end by force")).toEqual([]);
    await dialog.getByRole("button", { name: "Keep as it is" }).click();
    await page.getByRole("button", { name: "Retry" }).click();
    await dialog.getByLabel("Note").fill("kim: its kind is back");
    await dialog.getByRole("button", { name: "Retry" }).click();
    await head(page).getByText("waiting", { exact: true }).waitFor();
    await page.getByRole("link", { name: "narrow" }).click();
    await page.getByRole("button", { name: "Resume" }).click();
    await page.getByText("Nothing waits").waitFor();
    await eventually(async () => {
      const { job } = await platform().capstan.jobs.getJob({ jobId: id });
      expect(job?.state).toBe("JOB_STATE_SUCCEEDED");
    });
    await page.context().close();
  });

  /** As a command that was refused for good leaves it; a healthy platform refuses none. */
  async function park(jobId: string): Promise<void> {
    await eventually(async () => {
      const parked = await queryOnce(
        platform().database.adminUrl,
        `update orchestrator.saga
            set stage = 'PARKED', parked_stage = 'WAITING', message = 'nobody drives this kind', wakeup_time = null,
                version = version + 1, stage_time = clock_timestamp()
          where job_id = $1 and stage = 'WAITING' returning id`,
        [jobId],
      );
      expect(parked).toHaveLength(1);
    });
  }

  test("makes a schedule and sees its next times as it is typed, runs it at once, and deletes it", async () => {
    const page = await browser.open(at("schedules/new"));
    await page.getByLabel("Name", { exact: true }).first().fill("nightly");
    await page.getByLabel("Pattern", { exact: true }).fill("30 2 * * 99");
    await page.getByText("They show when the plan can be read.").waitFor();
    await page.getByLabel("Pattern", { exact: true }).fill("30 2 * * *");
    await page.getByLabel("Time zone").fill("Europe/Madrid");
    await page
      .getByText(/, 02:30:00 \+0[12]:00/)
      .first()
      .waitFor();
    await page.getByLabel("The job as YAML").fill("name: report\nsteps:\n  - command: ['true']\n    colour: red\n");
    await page.getByText("line 4").waitFor();
    await page.getByText("More", { exact: true }).click();
    expect(await faultsOf(page, "the form of a schedule with what is wrong in it")).toEqual([]);
    await page.getByLabel("The job as YAML").fill("name: report\nsteps:\n  - command: ['true']\n");
    await page.getByRole("button", { name: "Make the schedule" }).click();
    await page.getByText("No run yet").waitFor();
    await page.getByRole("button", { name: "Run now" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(/One job is submitted at once \(report\)/).waitFor();
    await dialog.getByRole("button", { name: "Run it now" }).click();
    await page
      .getByRole("table", { name: "Last runs" })
      .getByRole("row", { name: /report.*succeeded/ })
      .waitFor();
    expect(await faultsOf(page, "a schedule")).toEqual([]);
    await page.getByRole("link", { name: "Edit" }).click();
    await page.getByRole("button", { name: "Change the schedule" }).waitFor();
    expect(await faultsOf(page, "the form of a schedule that is there")).toEqual([]);
    await page.getByRole("link", { name: "Leave it" }).click();
    await page.getByText("More", { exact: true }).click();
    await page.getByRole("button", { name: "Delete" }).click();
    await dialog.getByText(/cannot be brought back/).waitFor();
    expect(await faultsOf(page, "the question before a schedule is deleted")).toEqual([]);
    await dialog.getByRole("button", { name: "Delete the schedule" }).click();
    await page.getByText("No schedule yet").waitFor();
    await page.context().close();
  });

  test("publishes a template, and is led to a job from it", async () => {
    const draft = {
      name: "greet",
      spec: { parameters: [{ name: "who", required: true }], job: { steps: [{ name: "say", command: ["true"] }] } },
    };
    const answer = await askApi(gateway(), "/templates", { body: draft });
    expect(answer.status).toBe(200);
    const page = await browser.open(at("templates/greet"));
    await page.getByRole("button", { name: "Publish" }).waitFor();
    expect(await faultsOf(page, "a template that is a draft")).toEqual([]);
    await page.getByRole("button", { name: "Publish" }).click();
    await page
      .getByRole("dialog")
      .getByText(/can never be changed again/)
      .waitFor();
    expect(await faultsOf(page, "the question before a template is published")).toEqual([]);
    await page.getByRole("dialog").getByRole("button", { name: "Publish it" }).click();
    await head(page).getByText("published", { exact: true }).waitFor();
    await page.getByRole("link", { name: "New job" }).last().click();
    await page.getByLabel("who").waitFor();
    expect(await faultsOf(page, "the form of a job from a template")).toEqual([]);
    await page.goto(at("schedules/new?template=greet"));
    await page.getByLabel("who").waitFor();
    expect(await faultsOf(page, "the form of a schedule of a template")).toEqual([]);
    await page.context().close();
  });

  test("follows the facts of the platform live, by type, pauses them, and clears them", async () => {
    const page = await browser.open(at("events?type=job.*"));
    const table = page.getByRole("table", { name: "Events" });
    const { id } = await run(platform().capstan, sh("true"), { name: "seen" });
    await table.getByRole("row", { name: new RegExp(`job.succeeded.*${id.slice(-8)}`) }).waitFor();
    expect(await table.getByText("execution.started").count()).toBe(0);
    await page.getByRole("button", { name: "Pause" }).click();
    const held = await run(platform().capstan, sh("true"), { name: "held" });
    await page.getByRole("button", { name: /^Go on, \d+ new/ }).waitFor();
    expect(await table.getByText(held.id.slice(-8)).count()).toBe(0);
    await page.getByRole("button", { name: /^Go on/ }).click();
    await table.getByRole("row", { name: new RegExp(`job.succeeded.*${held.id.slice(-8)}`) }).waitFor();
    await table.getByRole("link", { name: "job.succeeded" }).first().click();
    await page
      .getByRole("dialog")
      .getByLabel("the event", { exact: true })
      .getByText(/"specversion"/)
      .waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Clear" }).click();
    await page.getByText("Nothing has happened yet").waitFor();
    await page.context().close();
  });

  test("replays a fact that could not be read, which stays while it cannot, and leaves the list once it was mended", async () => {
    const { capstan, database, nats } = platform();
    const { id } = await run(capstan, sh("true"), { name: "garbled" });
    const subject = `capstan.v1.default.job.job.submitted.${id}`;
    const [fact] = await readSubject(nats.url, "job", subject);
    if (fact === undefined) throw new Error("the job was never told of");
    // The same fact again, as at-least-once may bring it, with its end cut off.
    const whole = JSON.stringify(fact.data);
    await withNats(nats.url, async (client) => {
      const garbled = headers();
      for (const [name, value] of Object.entries(fact.headers)) {
        if (name.startsWith("ce-")) garbled.set(name, value);
      }
      await jetstream(client).publish(subject, whole.slice(0, -9), { headers: garbled });
    });
    const page = await browser.open(at("sagas?tab=letters"));
    const table = page.getByRole("table", { name: "Dead letters" });
    const row = table.getByRole("row", { name: /job\.submitted/ });
    await row.waitFor();
    await page.getByRole("link", { name: "Dead letters 1" }).waitFor();
    expect(await faultsOf(page, "a dead letter")).toEqual([]);

    const dialog = page.getByRole("dialog");
    await page.getByRole("button", { name: "Replay all that are shown" }).click();
    await dialog.getByText(/Those that succeed leave this list/).waitFor();
    expect(await faultsOf(page, "the question before a replay")).toEqual([]);
    await dialog.getByRole("button", { name: "Replay" }).click();
    await page.getByText("0 handled, 1 failed again").waitFor();
    await row.waitFor();

    // What cannot be read is mended by a release that reads it, or by hand.
    await queryOnce(database.adminUrl, "update orchestrator.dead_letter set data = $2 where subject = $1", [
      subject,
      Buffer.from(whole),
    ]);
    await row.getByRole("checkbox").check();
    await page.getByRole("button", { name: "Replay 1 letter" }).click();
    await dialog.getByRole("button", { name: "Replay" }).click();
    await page.getByText("1 dead letter handled").waitFor();
    await page.getByText("No dead letter", { exact: true }).waitFor();
    await page.getByRole("link", { name: "Dead letters 0" }).waitFor();
    await page.context().close();
  });

  test.each([
    [["providers", "providers/local", "providers?tab=workers", "queues", "queues/seen"]],
    [["schedules", "schedules/new", "templates", "templates/greet", "events"]],
    [["sagas", "sagas?tab=all", "sagas?tab=letters", "system", "system?tab=findings", "system?tab=sessions"]],
  ])("axe finds nothing serious in either theme and none is wider than its window: %s", async (paths) => {
    const page = await browser.open(at(""));
    const faults: object[] = [];
    for (const path of paths) {
      await page.goto(at(path));
      await page.locator("main h1").first().waitFor();
      faults.push(...(await faultsOf(page, path)));
    }
    await page.context().close();
    expect(faults).toEqual([]);
  });

  test("shows what each service depends on, its loops, what it found, and who listens", async () => {
    const page = await browser.open(at("system"));
    await page.getByText("All parts of the platform work").waitFor();
    await page.getByRole("article", { name: "job" }).getByText("fire-schedules").waitFor();
    await page.getByRole("link", { name: /^Findings/ }).click();
    await page.getByText("all holds").nth(3).waitFor();
    const listener = await browser.open(at("events"));
    await page.getByRole("link", { name: "Live clients" }).click();
    await page
      .getByRole("row", { name: /there.*WebSocket/ })
      .first()
      .waitFor();
    await listener.context().close();
    await page.context().close();
  });
});
