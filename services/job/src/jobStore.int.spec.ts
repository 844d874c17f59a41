/** What the tables themselves refuse, whatever the code above them believes, and what is read of them. */
import { openPool, uuidv7 } from "@capstan/postgres";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createMigratedDatabase, createTestLog, queryOnce, type TestDatabase } from "../../../test/support/database.ts";
import { countRowsRead } from "../../../test/support/rowsRead.ts";
import { findDueJobs } from "./dueStore.ts";

let database: TestDatabase;
let id: string;

beforeAll(async () => {
  database = await createMigratedDatabase("job", new URL("../migrations/", import.meta.url));
});

afterAll(() => database.drop());

const query = (text: string) => queryOnce(database.url, text);

beforeEach(async () => {
  id = uuidv7();
  await query(insertJob(id, `'key of ${id}'`));
  await query(
    `insert into job.step (job_id, name, position, state, reason, attempt) values ('${id}', 'main', 0, 'READY', 'QUEUED', 1)`,
  );
  await query(insertFact(1, true));
});

function insertJob(jobId: string, key: string): string {
  return `insert into job.job (id, tenant, name, labels, spec, priority, source, idempotency_key, request_hash, state, reason, sequence)
          values ('${jobId}', 'default', 'example', '{}', '{}', 0, '', ${key}, '', 'PENDING', 'QUEUED', 1)`;
}

function insertFact(sequence: number, isTerminal: boolean): string {
  return `insert into job.event (aggregate_id, sequence, id, tenant, noun, event, correlation_id, causation_id, is_terminal, data)
          values ('${id}', ${sequence}, '${uuidv7()}', 'default', 'job', 'example', '', '', ${isTerminal}, '{}')`;
}

const setJob = (assignments: string) => `update job.job set ${assignments} where id = '${id}'`;
const setStep = (assignments: string) => `update job.step set ${assignments} where job_id = '${id}'`;

test.each<[string, () => string]>([
  ["a second terminal fact of a job", () => insertFact(2, true)],
  ["two facts with one number", () => insertFact(1, false)],
  ["a fact with the number 0", () => insertFact(0, false)],
  ["a job that has ended without a time", () => setJob("state = 'SUCCEEDED'")],
  ["a job that lives and has an end", () => setJob("end_time = now()")],
  ["a job that runs and never started", () => setJob("state = 'RUNNING'")],
  ["a state that no job has", () => setJob("state = 'DONE'")],
  ["a job without a fact", () => setJob("sequence = 0")],
  ["a second job with one key", () => insertJob(uuidv7(), `'key of ${id}'`)],
  ["a step that has ended without a time", () => setStep("state = 'SKIPPED'")],
  ["a step that lives and has an end", () => setStep("end_time = now()")],
  ["a step that runs and never started", () => setStep("state = 'RUNNING'")],
  ["a step that backs off for ever", () => setStep("state = 'BACKOFF'")],
  ["attempt 0", () => setStep("attempt = 0")],
  ["attempt 101", () => setStep("attempt = 101")],
  ["a state that no step has", () => setStep("state = 'PENDING'")],
  ["a step of no job", () => `update job.step set job_id = '${uuidv7()}' where job_id = '${id}'`],
])("the database refuses %s", async (_, statement) => {
  await expect(query(statement())).rejects.toMatchObject({ code: expect.stringMatching(/^23/) });
});

test("and takes what is legal", async () => {
  await query(insertFact(2, false));
  await query(setStep("state = 'RUNNING', start_time = now()"));
  await query(setStep("state = 'SUCCEEDED', end_time = now()"));
  await query(setJob("state = 'SUCCEEDED', end_time = now()"));
});

test("looking for what is due reads nothing of what is due later", async () => {
  await query(setJob("deadline_time = now() + interval '1 hour'"));
  await query(setStep("state = 'BLOCKED', due_time = now() + interval '1 hour'"));
  const pool = openPool({ url: database.url, schema: "job", log: createTestLog() });
  for (const table of ["job", "step"]) {
    expect(await countRowsRead(pool, table, (db) => findDueJobs(db, 500))).toBe(0);
  }
  await query(setJob("deadline_time = now()"));
  expect(await countRowsRead(pool, "job", (db) => findDueJobs(db, 500))).toBe(1);
  await pool.end();
});
