/** Postgres and NATS go away, come back, and forget, while jobs run: no job and no fact is lost. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { jetstreamManager } from "@nats-io/jetstream";
import { expect, test } from "vitest";
import { streamOf, withNats } from "../support/broker.ts";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { expectNoViolations } from "../support/invariants.ts";
import { countEnded, submitBatch } from "../support/jobs.ts";
import { serviceNames } from "../support/serviceProcess.ts";
import type { Platform } from "../support/startPlatform.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform({ ownPostgres: true });

const size = 500;

/** Does something bad while a batch is halfway, then expects that all of it succeeds and that every invariant holds. */
async function amid(batch: string, misfortune: (platform: Platform) => Promise<void>): Promise<void> {
  const acknowledged = await submitBatch(platform().capstan, batch, size);
  await eventually(async () => {
    const ended = [...(await countEnded(platform(), batch)).values()].reduce((sum, count) => sum + count, 0);
    expect(ended).toBeGreaterThan(size / 10);
  }, 30_000);
  await misfortune(platform());
  await expectNoViolations(platform(), { acknowledged, timeoutMs: 90_000 });
  expect(await countEnded(platform(), batch)).toEqual(new Map([["SUCCEEDED", size]]));
}

test("NATS is killed and started again", async () => {
  await amid("nats killed", async ({ nats }) => {
    await nats.kill();
    await nats.restart();
  });
}, 120_000);

test("NATS is away for a while: readiness says so, and jobs go on when it is back", async () => {
  await amid("nats away", async ({ nats, services }) => {
    await nats.stop();
    for (const name of serviceNames) {
      await eventually(async () => {
        const { status, services: told } = await services[name].readiness();
        expect(status).toBe(503);
        expect(told[0]?.dependencies).toContainEqual(expect.objectContaining({ name: "nats", ok: false }));
      });
    }
    await nats.restart();
    for (const name of serviceNames)
      await eventually(async () => expect((await services[name].readiness()).status).toBe(200));
  });
}, 120_000);

test("NATS loses everything it stored: every fact is published again", async () => {
  await amid("nats wiped", async ({ nats }) => {
    await nats.wipe();
    await nats.restart();
  });
}, 120_000);

test("a stream is deleted: it is made again with every fact", async () => {
  await amid("stream deleted", ({ nats }) =>
    withNats(nats.url, async (connection) => {
      const manager = await jetstreamManager(connection);
      for (const context of serviceNames) await manager.streams.delete(streamOf(context));
    }),
  );
}, 120_000);

test("an operator has the streams built anew: every fact is back, and the command says how long it took", async () => {
  await amid("streams rebuilt", async ({ nats, database }) => {
    const cli = join(import.meta.dirname, "../../libs/cli/src/main.ts");
    const env = { PATH: process.env["PATH"], CAPSTAN_DATABASE_URL: database.adminUrl, CAPSTAN_NATS_URL: nats.url };
    const rebuild = (...args: string[]) =>
      promisify(execFile)(process.execPath, [cli, "events", "rebuild", ...args, "--timeout", "80s"], { env });
    await expect(rebuild()).rejects.toMatchObject({ stderr: expect.stringContaining("say --yes") });
    expect((await rebuild("--yes")).stdout).toMatch(/^\d+ facts are back after [\d.]+ s, [\d.]+ s for each 10,000\n$/);
  });
}, 120_000);

test("a consumer is deleted: it is made again and handles everything", async () => {
  await amid("consumer deleted", ({ nats }) =>
    withNats(nats.url, async (connection) => {
      const manager = await jetstreamManager(connection);
      await manager.consumers.delete(streamOf("job"), "orchestrator-job");
      await manager.consumers.delete(streamOf("execution"), "orchestrator-execution");
    }),
  );
}, 120_000);

test("Postgres is killed and started again", async () => {
  await amid("postgres killed", async ({ postgres }) => {
    await postgres?.kill();
    await postgres?.restart();
  });
}, 120_000);

test("Postgres is away for a while: readiness says so, and jobs go on when it is back", async () => {
  await amid("postgres away", async ({ postgres, services }) => {
    await postgres?.stop();
    for (const name of serviceNames) {
      await eventually(async () => {
        const { status, services: told } = await services[name].readiness();
        expect(status).toBe(503);
        expect(told[0]?.dependencies).toContainEqual(expect.objectContaining({ name: "postgres", ok: false }));
      });
    }
    await postgres?.restart();
    for (const name of serviceNames)
      await eventually(async () => expect((await services[name].readiness()).status).toBe(200));
  });
}, 120_000);

test("every connection to Postgres is cut", async () => {
  await amid("connections cut", async ({ database }) => {
    await queryOnce(
      database.adminUrl,
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'capstan-%'",
    );
  });
}, 120_000);
