/** Days on which something is wrong that no boundary shows: what must be survived all the same. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect } from "@capstan/client";
import { headers } from "@nats-io/transport-node";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { readSubject, type StreamedMessage, withNats } from "../support/broker.ts";
import { queryOnce } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { type ExpectOptions, expectNoViolations } from "../support/invariants.ts";
import { requestOf, submitBatch, untilEnded } from "../support/jobs.ts";
import { startTestNats } from "../support/nats.ts";
import { type ServiceName, serviceNames } from "../support/serviceProcess.ts";
import { findWrongs, runJobs } from "./faultJobs.ts";
import { type FaultPlatform, startFaultPlatform, untilAllReady } from "./faultPlatform.ts";

let faults: FaultPlatform;
let runs = 0;

beforeEach(async () => {
  faults = await startFaultPlatform();
  await untilAllReady(faults);
});

afterEach(() => faults.stop());

/** Jobs of each kind end as they should. */
async function expectJobsEnd(): Promise<void> {
  const jobs = await runJobs(faults.platform, join(faults.directory, `ledger.${++runs}`));
  expect(await findWrongs(faults.platform, jobs)).toEqual([]);
}

const expectAllWell = (options?: ExpectOptions) => expectNoViolations(faults.platform, options);

/** The oldest message of the stream of jobs that tells of a submit. */
async function readModel(): Promise<StreamedMessage> {
  const [model] = await readSubject(faults.platform.nats.url, "job", "capstan.v1.default.job.job.submitted.>");
  if (model === undefined) throw new Error("there is no message to be like");
  return model;
}

/** A message like the model, with what is to be otherwise. */
async function publishLike(
  model: StreamedMessage,
  change: { readonly id: string; readonly type?: string; readonly data?: Uint8Array },
): Promise<void> {
  const { nats } = faults.platform;
  const changed: Record<string, string> = {
    ...model.headers,
    "ce-id": randomUUID(),
    "ce-subject": change.id,
    "ce-correlationid": change.id,
    ...(change.type === undefined ? {} : { "ce-type": change.type }),
  };
  changed["Nats-Msg-Id"] = changed["ce-id"] ?? "";
  const written = headers();
  for (const [name, value] of Object.entries(changed))
    if (!/^Nats-(Batch|Expected)/.test(name)) written.set(name, value);
  const data =
    change.data ?? Buffer.from(JSON.stringify(model.data).replaceAll(changed["ce-subject"] ?? "", change.id));
  await withNats(nats.url, async (client) => {
    client.publish(`capstan.v1.default.job.job.submitted.${change.id}`, data, { headers: written });
    await client.flush();
  });
}

async function deadLetters(): Promise<readonly { readonly error: string; readonly subject: string }[]> {
  return (await faults.platform.capstan.sagas.listDeadLetters({ pageSize: 100, pageToken: "" })).deadLetters;
}

test("events that nobody can read are set aside, once each, and hold nobody up", async () => {
  await expectJobsEnd();
  const poison: readonly { readonly type?: string; readonly data?: Uint8Array }[] = [
    { data: Buffer.from("{ this is no JSON") },
    { data: Buffer.from("") },
    { data: Buffer.from("[".repeat(100_000)) },
    { data: Buffer.from('{"job":{"steps":[{"spec":7}]},"__proto__":{"a":1}}') },
    { data: Buffer.from(JSON.stringify({ jobId: "x".repeat(300_000) })) },
    { type: "capstan.job.v2.job.submitted" },
    { type: "somebody.else.happened" },
  ];
  const model = await readModel();
  for (const each of poison) await publishLike(model, { id: randomUUID(), ...each });
  await expectJobsEnd();
  const letters = await eventually(async () => {
    const found = await deadLetters();
    expect(found.length).toBeGreaterThanOrEqual(5);
    return found;
  });
  expect(new Set(letters.map(({ subject }) => subject)).size).toBe(letters.length);
  await expectAllWell({ but: ["no-dead-letters", "streams-tell-the-log"] });
}, 120_000);

test("an event that ends whoever handles it is set aside after some deaths, and the jobs beside it go on", async () => {
  await expectJobsEnd();
  const id = randomUUID();
  for (let death = 0; death < 12; death++) {
    await faults.arm({ point: "handle", stage: "orchestrator-job", word: id, mode: "kill", delayMs: 0 });
  }
  await publishLike(await readModel(), { id });
  await expectJobsEnd();
  const [letter] = await eventually(async () => {
    const found = await deadLetters();
    expect(found).toHaveLength(1);
    return found;
  }, 60_000);
  expect(letter?.error).toMatch("3 processes in a row ended while they handled it");
  const deaths = faults.takeDeaths();
  expect(deaths.length).toBeGreaterThanOrEqual(3);
  expect(deaths.length).toBeLessThanOrEqual(8);
  await untilAllReady(faults);
  await expectJobsEnd();
  await expectAllWell({ but: ["no-dead-letters", "streams-tell-the-log"] });
}, 180_000);

const shiftClock = `--import=${fileURLToPath(new URL("./shiftClock.ts", import.meta.url))}`;
const hourMs = 3_600_000;

test.each(
  serviceNames.flatMap((name) => [
    { name, hours: 1 },
    { name, hours: -1 },
  ]),
)("jobs run, time out and are repeated as ever while the clock of the $name service is wrong by $hours h", async ({
  name,
  hours,
}) => {
  const { capstan, services } = faults.platform;
  await services[name].kill("SIGTERM");
  await services[name].start({ NODE_OPTIONS: shiftClock, CAPSTAN_TEST_CLOCK_MS: String(hours * hourMs) });
  await untilAllReady(faults);
  await expectJobsEnd();
  const slow = { command: ["sleep", "60"], runTimeout: { seconds: 1, nanos: 0 } };
  const spare = { command: ["true"], runTimeout: { seconds: 60, nanos: 0 }, startTimeout: { seconds: 60, nanos: 0 } };
  const before = Date.now();
  const [late, inTime] = await Promise.all(
    [requestOf(slow), requestOf(spare, { timeout: { seconds: 120, nanos: 0 } })].map(async (request) => {
      const { job } = await capstan.jobs.submitJob(request);
      return untilEnded(capstan, { id: job?.id ?? "" });
    }),
  );
  expect(late?.state).toBe("JOB_STATE_TIMED_OUT");
  expect(inTime?.state).toBe("JOB_STATE_SUCCEEDED");
  expect(Date.now() - before).toBeLessThan(25_000);
  await expectAllWell();
}, 120_000);

test("each service stands still for 20 s amid its work, and then the jobs go on and end as they should", async () => {
  const blocks: readonly (readonly [stage: string, word: string])[] = [
    ["job.save_jobs", "job.started"],
    ["provider.insert_reservations", "reservation.held"],
    ["execution.save_moves", "execution.started"],
  ];
  for (const [stage, word] of blocks) {
    await faults.arm({ point: "commit", stage, word, mode: "block", delayMs: 20_000 });
  }
  await faults.arm({ point: "write", stage: "orchestrator.claim_overdue", mode: "block", delayMs: 20_000 });
  await expectJobsEnd();
  expect(faults.takeDeaths()).toEqual([]);
  await untilAllReady(faults);
  await expectAllWell();
}, 180_000);

test("two full platforms on one database by mistake, each with its own NATS: what either accepts ends once", async () => {
  const nats = await startTestNats();
  const { platform } = faults;
  try {
    const own: NodeJS.ProcessEnv = { CAPSTAN_NATS_URL: nats.url };
    const addressOf = (name: ServiceName) => `CAPSTAN_${name.toUpperCase()}_ADDRESS`;
    for (const name of ["job", "provider", "execution", "orchestrator"] as const) {
      own[addressOf(name)] = (await platform.startReplica(name, own)).grpcAddress;
    }
    const second = connect({ address: own[addressOf("job")] ?? "" });
    try {
      const acknowledged = [
        ...(await submitBatch(platform.capstan, "first", 100)),
        ...(await submitBatch(second, "second", 100)),
      ];
      await expectJobsEnd();
      await eventually(async () => {
        const [row] = await queryOnce(
          platform.database.adminUrl,
          "select count(*)::int as ended from job.job where state = 'SUCCEEDED' and id = any($1::uuid[])",
          [acknowledged],
        );
        expect(row?.["ended"]).toBe(200);
      }, 90_000);
      // What one of them has told its own NATS is not in that of the other.
      await expectAllWell({ acknowledged, but: ["streams-hold-the-log", "streams-keep-the-order", "consumers-move"] });
    } finally {
      second.close();
    }
  } finally {
    await faults.stop();
    await nats.release();
    faults = await startFaultPlatform();
  }
}, 240_000);

test("a database from a backup taken 500 jobs ago: what it knows goes on, and what comes now ends once", async () => {
  const { platform } = faults;
  const { services, capstan, database } = platform;
  const serverUrl = inject("postgresUrl");
  const name = new URL(database.adminUrl).pathname.slice(1);
  const all = (work: (service: ServiceName) => Promise<unknown>) => Promise.all(serviceNames.map(work));
  await expectJobsEnd();
  const { job: waiting } = await capstan.jobs.submitJob(
    requestOf({ command: ["true"], placement: { provider: "later" } }),
  );
  await all((service) => services[service].kill("SIGTERM"));
  await queryOnce(serverUrl, `create database ${name}_backup template ${name}`);
  await all((service) => services[service].start());
  await submitBatch(capstan, "lost", 500);
  await eventually(async () => {
    const [row] = await queryOnce(
      database.adminUrl,
      "select count(*)::int as live from job.job where end_time is null",
    );
    expect(row?.["live"]).toBe(1);
  }, 60_000);
  await all((service) => services[service].kill("SIGTERM"));
  await queryOnce(serverUrl, `drop database ${name} with (force)`);
  await queryOnce(serverUrl, `alter database ${name}_backup rename to ${name}`);
  await all((service) => services[service].start());
  await untilAllReady(faults);
  await expectJobsEnd();
  await capstan.providers.registerProvider({
    name: "later",
    kind: "PROVIDER_KIND_PROCESS",
    capacity: { slots: 4, cpuMillis: 0, memoryMib: 0 },
    labels: {},
    endpoint: "",
  });
  const ended = await untilEnded(capstan, { id: waiting?.id ?? "" });
  expect(ended.state).toBe("JOB_STATE_SUCCEEDED");
  // The streams tell of 500 jobs that the database never heard of.
  await expectAllWell({ but: ["streams-tell-the-log", "streams-keep-the-order"] });
}, 240_000);
