/**
 * `npm run screenshots`: starts a platform in a directory of its own, keeps it at work for some minutes, and takes a picture of each
 * screen of the console in both themes into docs/console/. Needs Chromium. Run it after the look has changed; the tests do not.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createApp, createLogger, readConfig } from "@capstan/service";
import type { Browser } from "playwright-core";
import { configSchema } from "../../services/standalone/src/config.ts";
import { registerDefaultProviders } from "../../services/standalone/src/defaultProviders.ts";
import { claimPort } from "../../services/standalone/src/loopbackPort.ts";
import { openPlatform } from "../../services/standalone/src/openPlatform.ts";
import { findChromium, launchChromium } from "../support/useBrowser.ts";
import { type Pictured, workForPictures } from "./pictureJobs.ts";

const { values } = parseArgs({ options: { minutes: { type: "string", default: "4" } } });
const pictures = fileURLToPath(new URL("../../docs/console/", import.meta.url));
const settleMs = 2_500;
const size = { width: 1_280, height: 800 };

interface Picture {
  readonly name: string;
  readonly path: string;
  readonly size?: { readonly width: number; readonly height: number };
}

function picturesOf({ workflowId, streamingId }: Pictured): readonly Picture[] {
  return [
    { name: "overview", path: "?span=900s" },
    { name: "jobs", path: "jobs" },
    { name: "job", path: `jobs/${workflowId}` },
    { name: "job-narrow", path: `jobs/${workflowId}`, size: { width: 400, height: 860 } },
    { name: "job-timeline", path: `jobs/${workflowId}?tab=timeline` },
    { name: "job-log", path: `jobs/${streamingId}` },
    { name: "new-job", path: `new?from=${workflowId}` },
    { name: "new-job-from-template", path: "new?template=report" },
    { name: "providers", path: "providers" },
    { name: "queues", path: "queues" },
    { name: "schedules", path: "schedules" },
    { name: "templates", path: "templates" },
    { name: "sagas", path: "sagas" },
    { name: "events", path: "events" },
    { name: "system", path: "system" },
  ];
}

async function take(browser: Browser, url: string, pictured: Pictured): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    const context = await browser.newContext({ colorScheme, viewport: size, reducedMotion: "reduce" });
    const page = await context.newPage();
    for (const picture of picturesOf(pictured)) {
      await page.setViewportSize(picture.size ?? size);
      await page.goto(`${url}/${picture.path}`);
      await page.locator("main h1").first().waitFor();
      await page.waitForTimeout(settleMs);
      await page.screenshot({ path: join(pictures, `${picture.name}-${colorScheme}.png`) });
      console.log(`${picture.name}-${colorScheme}.png`);
    }
    await context.close();
  }
}

/** How soon the first screen is seen by a browser that has nothing of it yet. */
async function tellFirstPaint(browser: Browser, url: string): Promise<void> {
  const page = await browser.newPage();
  await page.goto(url);
  await page.locator("main h1").first().waitFor();
  const [paint, content] = await page.evaluate(() => [
    performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
    performance.now(),
  ]);
  console.log(`first paint after ${Math.round(paint ?? 0)} ms, the overview after ${Math.round(content ?? 0)} ms`);
  await page.close();
}

const chromium = findChromium();
if (chromium === null) throw new Error("there is no Chromium here; apt-get install chromium brings one");
const directory = await mkdtemp(join(tmpdir(), "capstan-pictures-"));
const app = createApp("screenshots", createLogger("screenshots", "error"));
try {
  const port = async (name: string) => `127.0.0.1:${await claimPort(0, name)}`;
  const environment = {
    CAPSTAN_DATA_DIR: directory,
    CAPSTAN_POSTGRES_PORT: "0",
    CAPSTAN_NATS_PORT: "0",
    CAPSTAN_GRPC_ADDRESS: await port("gRPC"),
    CAPSTAN_HEALTH_ADDRESS: await port("health"),
    CAPSTAN_HTTP_ADDRESS: await port("HTTP"),
    CAPSTAN_LOG_LEVEL: "error",
  };
  const platform = await openPlatform(app, readConfig(configSchema, environment));
  await registerDefaultProviders(platform.grpcAddress);
  const url = `http://${environment.CAPSTAN_HTTP_ADDRESS}`;
  const browser = await launchChromium(chromium);
  app.onStop(() => browser.close());
  await tellFirstPaint(browser, url);
  const pictured = await workForPictures(url, platform.grpcAddress, Number(values.minutes));
  app.onStop(pictured.stop);
  await mkdir(pictures, { recursive: true });
  await take(browser, url, pictured);
} finally {
  await app.stop();
  await rm(directory, { recursive: true, force: true });
}
process.exit(0);
