import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestLog } from "../../../test/support/database.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { connectNats } from "./connection.ts";
import { ensureStream } from "./stream.ts";

let nats: TestNats;
let nc: NatsConnection;
const log = createTestLog();

beforeAll(async () => {
  nats = await startTestNats();
  nc = await connectNats({ url: nats.url, name: "test", log });
});

afterAll(async () => {
  await nc.close();
  await nats.release();
});

test("a missing stream is made bounded, on disk, and safe from deletes", async () => {
  expect(await ensureStream(nc, { context: "job" }, log)).toMatchObject({ isNew: true, lastSequence: 0 });
  const { config } = await (await jetstreamManager(nc)).streams.info("CAPSTAN_JOB");
  expect(config).toMatchObject({
    subjects: ["capstan.v1.*.job.>"],
    storage: "file",
    retention: "limits",
    discard: "new",
    max_age: 7 * 24 * 3_600 * 1e9,
    max_bytes: 1024 ** 3,
    max_msg_size: 512 * 1024,
    deny_delete: true,
    deny_purge: true,
  });
});

test("a stream that is as it should be is left alone and known again by its time of creation", async () => {
  const first = await ensureStream(nc, { context: "provider" }, log);
  const second = await ensureStream(nc, { context: "provider" }, log);
  expect(second).toEqual({ ...first, isNew: false });
});

test("two that make the same stream at once both succeed", async () => {
  const made = await Promise.all([1, 2, 3].map(() => ensureStream(nc, { context: "execution" }, log)));
  expect(new Set(made.map(({ created }) => created.getTime())).size).toBe(1);
});

test("a stream that somebody set up otherwise is refused, with every difference named", async () => {
  const manager = await jetstreamManager(nc);
  await manager.streams.add({ name: "CAPSTAN_IDENTITY", subjects: ["capstan.v1.*.identity.>"], max_msgs: 5 });
  const refused = ensureStream(nc, { context: "identity" }, log);
  await expect(refused).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "TOPOLOGY_DIFFERS" });
  await expect(refused).rejects.toThrow(/max_msgs is 5, must be -1.*deny_delete is false, must be true/);
});
