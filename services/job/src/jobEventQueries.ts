/** The facts of many jobs at once, for those who tell them on; what one user reads of one job is in the log's own `listFacts`. */
import type { Db } from "@capstan/postgres";

export interface JobCursor {
  readonly jobId: string;
  readonly afterSequence: number;
  /** At most so many, counted from the newest; 0 all. */
  readonly newest: number;
  readonly onlyLabels: boolean;
}

export interface JobPage {
  /** Of the job's last fact, whether it is here or not. */
  readonly sequence: number;
  readonly hasEnded: boolean;
  readonly facts: readonly PageFact[];
  /** Empty unless asked for. */
  readonly labels: { readonly [key: string]: string };
}

interface PageFact {
  readonly id: string;
  readonly noun: string;
  readonly event: string;
  readonly sequence: number;
  readonly time: Date;
  readonly causationId: string;
  readonly traceparent: string | null;
  readonly isTerminal: boolean;
  readonly json: string;
}

interface GrowingPage extends Omit<JobPage, "facts"> {
  readonly facts: PageFact[];
}

interface Row extends Omit<PageFact, "id" | "json"> {
  readonly place: number;
  readonly jobSequence: number;
  readonly hasEnded: boolean;
  readonly labels: { [key: string]: string } | null;
  /** Null where a job has no fact after its cursor. */
  readonly id: string | null;
  /** Null if it would make the answer too large. */
  readonly json: string | null;
}

const factsOfOneJob = 100;
const maxAnswerBytes = 2 * 1024 * 1024;

/**
 * One page per cursor, null where there is no such job. A page ends early when the answer has become too large, with a fact left out
 * nowhere but at its end; the first fact of the answer always comes, so that reading on gets on.
 */
export async function readJobPages(
  db: Db,
  tenant: string,
  cursors: readonly JobCursor[],
  maxBytes = maxAnswerBytes,
): Promise<readonly (JobPage | null)[]> {
  const { rows } = await db.query<Row>({
    name: "read_job_pages",
    // Sizes as stored are summed first, which reads no data that is stored apart; only what fits is read as text.
    text: `select place::int, "jobSequence", "hasEnded", labels, id, noun, event, sequence, time, "causationId", traceparent, "isTerminal",
                  case when before < $6 then data::text end as json
             from (
               select cursor.place, j.sequence as "jobSequence", j.end_time is not null as "hasEnded",
                      case when cursor.only_labels then j.labels end as labels,
                      e.id, e.noun, e.event, e.sequence, e.time, e.causation_id as "causationId", e.traceparent,
                      e.is_terminal as "isTerminal", e.data,
                      coalesce(sum(pg_column_size(e.data)) over (
                        order by cursor.place, e.sequence rows between unbounded preceding and 1 preceding), 0) as before,
                      row_number() over (partition by cursor.place order by e.sequence) as place_in_page
                 from unnest($2::uuid[], $3::int[], $4::int[], $5::boolean[])
                      with ordinality as cursor (job_id, after, newest, only_labels, place)
                 join job.job j on j.id = cursor.job_id and j.tenant = $1
                 left join lateral (
                   select * from event
                    where aggregate_id = j.id and not cursor.only_labels
                      and sequence > greatest(cursor.after, case cursor.newest when 0 then 0 else j.sequence - cursor.newest end)
                    order by sequence
                    limit ${factsOfOneJob}) e on true) listed
            where before < $6 or place_in_page = 1
            order by place, sequence`,
    values: [
      tenant,
      cursors.map(({ jobId }) => jobId),
      cursors.map(({ afterSequence }) => afterSequence),
      cursors.map(({ newest }) => newest),
      cursors.map(({ onlyLabels }) => onlyLabels),
      maxBytes,
    ],
  });
  return pagesOf(rows, cursors.length, maxBytes);
}

/** A job whose facts were all left out for size has an empty page, and a sequence that says that there are some. */
function pagesOf(rows: readonly Row[], count: number, maxBytes: number): readonly (JobPage | null)[] {
  const pages: (GrowingPage | null)[] = Array.from({ length: count }, () => null);
  let bytes = 0;
  for (const { place, jobSequence, hasEnded, labels, id, json, ...fact } of rows) {
    const page = pages[place - 1] ?? { sequence: jobSequence, hasEnded, facts: [], labels: labels ?? {} };
    pages[place - 1] = page;
    if (id === null || json === null || bytes > maxBytes) continue;
    bytes += Buffer.byteLength(json);
    page.facts.push({ ...fact, id, json });
  }
  return pages;
}
