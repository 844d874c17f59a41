import type { Pool } from "@capstan/postgres";
import { expect, onTestFinished, test } from "vitest";
import { createTestLog } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startTestNats } from "../../../test/support/nats.ts";
import { connectNats } from "./connection.ts";
import { watchStream } from "./streamWatch.ts";

test("while the database is away the stream is looked at twice a second, however often somebody asks", async () => {
  const nats = await startTestNats();
  onTestFinished(() => nats.release());
  const log = createTestLog();
  const nc = await connectNats({ url: nats.url, name: "test", log });
  onTestFinished(() => nc.close());
  let looks = 0;
  const db = {
    query: async () => {
      looks += 1;
      throw new Error("the database is away");
    },
  } as unknown as Pool;
  const watch = watchStream({ nc, topology: { context: "job" }, db, log, onLoss: () => {} });
  for (let asked = 1; asked <= 20; asked += 1) {
    const before = looks;
    watch.check("publishing failed");
    await eventually(() => expect(looks).toBeGreaterThan(before));
  }
  const [from, begin] = [looks, performance.now()];
  await eventually(() => expect(looks).toBeGreaterThan(from + 4));
  expect(performance.now() - begin).toBeGreaterThan(3 * 500);
  expect(watch.isUsable()).toBe(false);
});
