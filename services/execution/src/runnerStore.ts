/** The statements of `runner`: one row per process, whose `lease_until` is the lease of all its executions. */
import type { Db } from "@capstan/postgres";
import type { RunnerHost } from "./runnerHost.ts";

/** Registers a runner, in place of the one that this process was before, if any. */
export async function addRunner(
  db: Db,
  runner: RunnerHost & { readonly id: string; readonly leaseMs: number; readonly previousId: string | null },
): Promise<void> {
  await db.query(
    `with previous as (delete from runner where id = $6)
     insert into runner (id, host, pid, pid_start, lease_until)
     values ($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 millisecond')`,
    [runner.id, runner.host, runner.pid, runner.pidStart, runner.leaseMs, runner.previousId],
  );
}

/** False when the lease was over already, or the runner was declared dead. */
export async function renewRunner(db: Db, id: string, leaseMs: number): Promise<boolean> {
  const { rowCount } = await db.query({
    name: "renew_runner",
    text: `update runner set lease_until = clock_timestamp() + $2 * interval '1 millisecond'
            where id = $1 and lease_until > clock_timestamp()`,
    values: [id, leaseMs],
  });
  return rowCount === 1;
}

/** A runner as others see it. */
export interface SeenRunner extends RunnerHost {
  readonly id: string;
  readonly isOverdue: boolean;
}

/** All runners, and whether there are live executions that none of them holds; one statement, because it is asked when idle too. */
export async function surveyRunners(
  db: Db,
): Promise<{ readonly runners: readonly SeenRunner[]; readonly hasOrphans: boolean }> {
  const { rows } = await db.query<SurveyRow>({
    name: "survey_runners",
    text: `select id, host, pid, pid_start, lease_until < clock_timestamp() as is_overdue,
                  exists (
                    select from execution e
                     where e.end_time is null and not exists (select from runner r where r.id = e.lease_owner)
                  ) as has_orphans
             from runner`,
  });
  const runners = rows.map((row) => ({
    id: row.id,
    host: row.host,
    pid: row.pid,
    pidStart: row.pid_start,
    isOverdue: row.is_overdue,
  }));
  return { runners, hasOrphans: rows[0]?.has_orphans ?? false };
}

interface SurveyRow {
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  readonly pid_start: number;
  readonly is_overdue: boolean;
  readonly has_orphans: boolean;
}

/** Removes runners that are dead, and of the overdue ones those that still are; their executions are then anybody's. */
export async function removeDeadRunners(
  db: Db,
  deadIds: readonly string[],
  overdueIds: readonly string[],
): Promise<void> {
  await db.query(
    `delete from runner
      where id = any($1::uuid[]) or (id = any($2::uuid[]) and lease_until < clock_timestamp())`,
    [deadIds, overdueIds],
  );
}

/** Lets go of everything this runner holds: others may take it over at once. */
export async function removeRunner(db: Db, id: string): Promise<void> {
  await db.query("delete from runner where id = $1", [id]);
}

/** What this installation is called on engines it shares with others. */
export async function readInstallation(db: Db): Promise<string> {
  const { rows } = await db.query<{ id: string }>("select id from installation");
  if (rows[0] === undefined) throw new Error("the installation has no name: its row was deleted");
  return rows[0].id;
}
