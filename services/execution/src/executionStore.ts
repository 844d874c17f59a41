/**
 * The statements that move executions. Each takes many and says in its `where` which may move: the holder of a lease writes by
 * id, fence and the state it believes in, so that a write that comes too late changes nothing.
 */
import type { Db } from "@capstan/postgres";
import { StepSpec } from "@capstan/proto/capstan/job/v1/spec.ts";
import type { Assignment, Execution, ExecutionReason, ExecutionState } from "./execution.ts";
import type { LogTotals } from "./logTotals.ts";

interface NewExecution {
  readonly assignment: Assignment;
  readonly state: "ASSIGNED" | "STARTING";
}

/**
 * Records executions for a runner; gives back the ids that are new. Answers null when the runner's lease is over: then nothing
 * was recorded.
 */
export async function addExecutions(
  db: Db,
  runnerId: string,
  executions: readonly NewExecution[],
): Promise<Set<string> | null> {
  const of = <T>(field: (assignment: Assignment) => T) => executions.map(({ assignment }) => field(assignment));
  const { rows } = await db.query<{ id: string | null }>({
    name: "add_executions",
    text: `with holder as (
             select id from runner where id = $1 and lease_until > clock_timestamp()
           ), added as (
             insert into execution (id, tenant, job_id, step, attempt, provider_id, provider_name, kind, endpoint, spec,
                                    traceparent, state, lease_owner)
             select start.*, holder.id
               from unnest($2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::int[], $7::uuid[], $8::text[], $9::text[],
                           $10::text[], $11::json[], $12::text[], $13::text[]) as start, holder
                 on conflict (id) do nothing
             returning id
           )
           select added.id from holder left join added on true`,
    values: [
      runnerId,
      of(({ id }) => id),
      of(({ tenant }) => tenant),
      of(({ jobId }) => jobId),
      of(({ step }) => step),
      of(({ attempt }) => attempt),
      of(({ providerId }) => providerId),
      of(({ providerName }) => providerName),
      of(({ kind }) => kind),
      of(({ endpoint }) => endpoint),
      of(({ spec }) => JSON.stringify(StepSpec.toJSON(spec))),
      of(({ traceparent }) => traceparent),
      executions.map(({ state }) => state),
    ],
  });
  return rows.length === 0 ? null : new Set(rows.flatMap(({ id }) => id ?? []));
}

/** A move of one execution by the holder of its lease. */
export interface Move {
  readonly execution: Execution;
  /** The state the holder believes the row to be in. */
  readonly was: ExecutionState;
  /** How long ago it was seen to start; null when this move does not tell. */
  readonly startedMsAgo: number | null;
  /** How long ago it was seen to end; null while it is live. */
  readonly endedMsAgo: number | null;
  /** Its log, sealed; null while it is live. */
  readonly log: LogTotals | null;
}

/** Saves moves whose row still has the fence and the state that was believed; gives back the ids that were saved. */
export async function saveMoves(db: Db, moves: readonly Move[]): Promise<Set<string>> {
  const of = <T>(field: (execution: Execution) => T) => moves.map(({ execution }) => field(execution));
  const log = <T>(field: (totals: LogTotals) => T) => moves.map((move) => (move.log === null ? null : field(move.log)));
  const { rows } = await db.query<{ id: string }>({
    name: "save_moves",
    text: `with move as (
             select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                                  $8::int[], $9::text[], $10::json[], $11::int[], $12::float8[], $13::float8[],
                                  $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], $18::text[], $19::boolean[])
               as m(id, fence, was, state, reason, message, external_ref, exit_code, signal, result, sequence,
                    started_ms_ago, ended_ms_ago, stdout_bytes, stderr_bytes, lines, dropped_bytes, sha256, has_gap)
           ), clock as materialized (select clock_timestamp() as time)
           update execution e
              set state = move.state,
                  reason = move.reason,
                  message = move.message,
                  external_ref = move.external_ref,
                  exit_code = move.exit_code,
                  signal = move.signal,
                  result = move.result,
                  sequence = move.sequence,
                  start_time = coalesce(e.start_time, clock.time - move.started_ms_ago * interval '1 millisecond'),
                  end_time = clock.time - move.ended_ms_ago * interval '1 millisecond',
                  stdout_bytes = coalesce(move.stdout_bytes, e.stdout_bytes),
                  stderr_bytes = coalesce(move.stderr_bytes, e.stderr_bytes),
                  log_lines = coalesce(move.lines, e.log_lines),
                  log_dropped_bytes = coalesce(move.dropped_bytes, e.log_dropped_bytes),
                  log_sha256 = coalesce(move.sha256, e.log_sha256),
                  log_has_gap = coalesce(move.has_gap, e.log_has_gap)
             from move, clock
            where e.id = move.id and e.fence = move.fence and e.state = move.was
           returning e.id`,
    values: [
      of(({ id }) => id),
      of(({ fence }) => fence),
      moves.map(({ was }) => was),
      of(({ state }) => state),
      of(({ reason }) => reason),
      of(({ message }) => message),
      of(({ externalRef }) => externalRef),
      of(({ exitCode }) => exitCode),
      of(({ signal }) => signal),
      of(({ result }) => result),
      of(({ sequence }) => sequence),
      moves.map(({ startedMsAgo }) => startedMsAgo),
      moves.map(({ endedMsAgo }) => endedMsAgo),
      log(({ stdoutBytes }) => stdoutBytes),
      log(({ stderrBytes }) => stderrBytes),
      log(({ lines }) => lines),
      log(({ droppedBytes }) => droppedBytes),
      log(({ sha256 }) => sha256),
      log(({ hasGap }) => hasGap),
    ],
  });
  return new Set(rows.map(({ id }) => id));
}

/** Where executions stand now, by id. */
export async function readExecutions(db: Db, ids: readonly string[]): Promise<Map<string, Execution>> {
  const { rows } = await db.query<ExecutionRow>(`select ${columns} from execution e where e.id = any($1::uuid[])`, [
    ids,
  ]);
  return new Map(rows.map((row) => [row.id, executionFromRow(row)]));
}

/** Which of the ids are executions that are live or ended less than `endedMs` ago, whoever runs them. */
export async function findKept(db: Db, ids: readonly string[], endedMs: number): Promise<Set<string>> {
  const { rows } = await db.query<{ id: string }>(
    `select id from execution
      where id = any($1::uuid[]) and (end_time is null or end_time > clock_timestamp() - $2 * interval '1 millisecond')`,
    [ids, endedMs],
  );
  return new Set(rows.map(({ id }) => id));
}

/** What `executionFromRow` reads, of `execution e`. */
export const columns = `e.id, e.fence, e.state, e.reason, e.message, e.start_time, e.external_ref, e.exit_code, e.signal,
                 e.result::text as result, e.sequence`;

export interface ExecutionRow {
  readonly id: string;
  readonly fence: number;
  readonly state: ExecutionState;
  readonly reason: ExecutionReason;
  readonly message: string;
  readonly start_time: Date | null;
  readonly external_ref: string;
  readonly exit_code: number | null;
  readonly signal: string;
  readonly result: string | null;
  readonly sequence: number;
}

export function executionFromRow(row: ExecutionRow): Execution {
  return {
    id: row.id,
    fence: row.fence,
    state: row.state,
    reason: row.reason,
    message: row.message,
    hasStarted: row.start_time !== null,
    externalRef: row.external_ref,
    exitCode: row.exit_code,
    signal: row.signal,
    result: row.result,
    sequence: row.sequence,
  };
}

/** Who an execution is. */
export type LiveExecution = Pick<Assignment, "id" | "tenant" | "jobId" | "step" | "attempt">;

/**
 * Those that have not ended and were recorded `minAgeMs` ago, in the order of their ids, after `afterId`. What lives is read first: the
 * order of all ids leads through whatever has ended.
 */
export async function listLive(
  db: Db,
  minAgeMs: number,
  afterId: string,
  limit: number,
): Promise<readonly LiveExecution[]> {
  const { rows } = await db.query<{ id: string; tenant: string; job_id: string; step: string; attempt: number }>({
    name: "list_live_executions",
    text: `with live as materialized (
             select id, tenant, job_id, step, attempt from execution
              where end_time is null and create_time < clock_timestamp() - $1 * interval '1 millisecond'
           )
           select * from live where id > $2::uuid order by id limit $3`,
    values: [minAgeMs, afterId, limit],
  });
  return rows.map(({ job_id: jobId, ...row }) => ({ ...row, jobId }));
}
