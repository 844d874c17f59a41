import { parseFilter } from "@capstan/grpc";
import { openPool, type Pool, uuidv7 } from "@capstan/postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createMigratedDatabase, createTestLog, type TestDatabase } from "../../../test/support/database.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { createTestLoops } from "../../../test/support/loops.ts";
import { noCounts, type SavedSession } from "./session.ts";
import {
  filterFields,
  forgetReplica,
  getSession,
  listSessions,
  pruneSessions,
  saveSessions,
  sweepSessions,
} from "./sessionStore.ts";
import { createSessions } from "./sessions.ts";

let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  database = await createMigratedDatabase("gateway", new URL("../migrations/", import.meta.url));
  pool = openPool({ url: database.url, schema: "gateway", log: createTestLog() });
});

afterAll(async () => {
  await pool.end();
  await database.drop();
});

const aClient = {
  tenant: "default",
  kind: "WEBSOCKET",
  client: "console",
  metadata: { page: "jobs", note: "naïve — ✓" },
  address: "127.0.0.1",
  path: "/api/v1/live",
} as const;

function aSession(change: Partial<SavedSession> = {}): SavedSession {
  const now = new Date();
  const times = { createTime: now, heartbeatTime: now, endTime: null, reason: null };
  return { ...aClient, ...noCounts, ...times, id: uuidv7(), ...change };
}

async function listed(filter: string, limit = 100, cursor: readonly string[] | null = null) {
  return listSessions(pool, { tenant: "default", filter: parseFilter(filter, filterFields), cursor, limit });
}

/** Loops of a service that is stopped with the test. */
function open({ maxSessions = 10, heartbeatMs = 50 } = {}) {
  const loops = createTestLoops();
  return { loops, sessions: createSessions({ app: loops, pool, maxSessions, heartbeatMs }) };
}

test("a session is saved when it begins, with each heartbeat, and when it ends", async () => {
  const { loops, sessions } = open();
  const session = sessions.open(aClient);
  const read = () => getSession(pool, "default", session.id);
  await eventually(async () =>
    expect(await read()).toMatchObject({ ...aClient, ...noCounts, state: "ACTIVE", reason: "NONE", endTime: null }),
  );
  Object.assign(session.counts, { deliveredEvents: 7, droppedEvents: 2, sentBytes: 5e9, subscriptions: 3 });
  session.heardTime = Date.now() + 1_000;
  await eventually(async () =>
    expect(await read()).toMatchObject({
      deliveredEvents: 7,
      droppedEvents: 2,
      sentBytes: 5e9,
      subscriptions: 3,
      heartbeatTime: new Date(session.heardTime),
    }),
  );
  session.end("CLIENT_LEFT");
  session.end("TOO_SLOW");
  await eventually(async () =>
    expect(await read()).toMatchObject({ state: "ENDED", reason: "CLIENT_LEFT", subscriptions: 0, deliveredEvents: 7 }),
  );
  expect(sessions.size).toBe(0);
  await eventually(async () => expect((await pool.query("select id from replica")).rows).toEqual([]));
  await sessions.close();
  await loops.stop();
});

test("more sessions than may be are refused with the limit, until one ends", async () => {
  const { loops, sessions } = open({ maxSessions: 2 });
  const [first] = [sessions.open(aClient), sessions.open(aClient)];
  expect(() => sessions.open(aClient)).toThrow(/has 2 live clients, which is its limit \(CAPSTAN_LIVE_MAX_SESSIONS\)/);
  first?.end("CLIENT_LEFT");
  const third = sessions.open(aClient);
  await sessions.close();
  expect(await getSession(pool, "default", third.id)).toMatchObject({ state: "ACTIVE" });
  await loops.stop();
});

test("sessions of a process that died are over at once for whoever reads, and are swept by any other", async () => {
  const dead = uuidv7();
  const sessions = [aSession(), aSession({ kind: "SSE" })];
  await saveSessions(pool, { id: dead, leaseMs: 0 }, sessions);
  const of = (state: string) => listed(`state = ${state} AND replica_id = "${dead}"`);
  expect(await of("ACTIVE")).toEqual([]);
  expect(await of("ENDED")).toMatchObject([{ reason: "GATEWAY_LOST" }, { reason: "GATEWAY_LOST" }]);
  const alive = uuidv7();
  const other = aSession();
  await saveSessions(pool, { id: alive, leaseMs: 60_000 }, [other]);
  await sweepSessions(pool);
  expect(await getSession(pool, "default", sessions[0]?.id ?? "")).toMatchObject({
    state: "ENDED",
    reason: "GATEWAY_LOST",
    endTime: expect.any(Date),
  });
  expect(await getSession(pool, "default", other.id)).toMatchObject({ state: "ACTIVE" });

  // It was only frozen.
  await saveSessions(pool, { id: dead, leaseMs: 60_000 }, sessions);
  expect(await of("ACTIVE")).toHaveLength(2);
  await forgetReplica(pool, dead);
  expect(await of("ACTIVE")).toEqual([]);
});

test("sessions are listed newest first, page after page, by filters", async () => {
  const replica = { id: uuidv7(), leaseMs: 60_000 };
  const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 0, minute));
  const sessions = [1, 2, 3, 4, 5].map((minute) =>
    aSession({ createTime: at(minute), client: minute % 2 === 0 ? "curl" : "console" }),
  );
  await saveSessions(pool, replica, sessions);
  const own = `replica_id = "${replica.id}"`;
  const ids = sessions.map(({ id }) => id).reverse();
  const first = await listed(own, 3);
  const last = first.at(-1);
  const second = await listed(own, 3, [last?.createTimeText ?? "", last?.id ?? ""]);
  expect([...first, ...second].map(({ id }) => id)).toEqual(ids);
  expect((await listed(`${own} AND client = "curl"`)).map(({ id }) => id)).toEqual([ids[1], ids[3]]);
  expect(await listed(`${own} AND kind = SSE`)).toEqual([]);
});

test("what has ended long ago is removed, in portions", async () => {
  const replica = { id: uuidv7(), leaseMs: 60_000 };
  const endTime = new Date(Date.now() - 2 * 86_400_000);
  const old = Array.from({ length: 5 }, () => aSession({ endTime, reason: "CLIENT_LEFT" }));
  const recent = aSession({ endTime: new Date(), reason: "CLIENT_LEFT" });
  await saveSessions(pool, replica, [...old, recent]);
  expect(await pruneSessions(pool, 86_400_000, 3)).toBe(3);
  expect(await pruneSessions(pool, 86_400_000, 3)).toBe(2);
  expect(await getSession(pool, "default", recent.id)).not.toBeNull();
});
