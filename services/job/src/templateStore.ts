/** The statements of templates. Whoever changes a version takes the lock of its template first. */
import { DomainError } from "@capstan/errors";
import { type Filter, filterToSql } from "@capstan/grpc";
import type { Db } from "@capstan/postgres";
import { TemplateSpec } from "@capstan/proto/capstan/job/v1/template.ts";
import type { Template, TemplateState } from "./template.ts";

interface VersionRow {
  id: string;
  tenant: string;
  name: string;
  version: number;
  state: TemplateState;
  spec: unknown;
  revision: number;
  create_time: Date;
  update_time: Date;
  publish_time: Date | null;
}

const columns = `t.id, t.tenant, t.name, v.version, v.state, v.spec, v.revision, v.create_time, v.update_time, v.publish_time`;

function toTemplate(row: VersionRow): Template {
  return {
    id: row.id,
    tenant: row.tenant,
    name: row.name,
    version: row.version,
    state: row.state,
    spec: TemplateSpec.fromJSON(row.spec),
    revision: row.revision,
    createTime: row.create_time,
    updateTime: row.update_time,
    publishTime: row.publish_time,
  };
}

/** A template that no other transaction can change until this one ends. */
interface LockedTemplate {
  readonly id: string;
  /** The number of its last fact; 0 if it was made by this very call. */
  readonly sequence: number;
}

/** Null if the tenant has none of that name. */
export async function lockTemplate(db: Db, tenant: string, name: string): Promise<LockedTemplate | null> {
  const { rows } = await db.query<LockedTemplate>(
    "select id, sequence from job.template where tenant = $1 and name = $2 for update",
    [tenant, name],
  );
  return rows[0] ?? null;
}

/** False if the tenant has one of that name. */
export async function insertTemplate(db: Db, id: string, tenant: string, name: string): Promise<boolean> {
  const { rowCount } = await db.query(
    "insert into job.template (id, tenant, name, sequence) values ($1, $2, $3, 1) on conflict (tenant, name) do nothing",
    [id, tenant, name],
  );
  return rowCount === 1;
}

/** Which version somebody means who names none. */
export type Meant = "published" | "draft";

/** The newest of those comes first, and then the newest of the rest. */
const preferred = { published: "v.state = 'PUBLISHED'", draft: "v.state = 'DRAFT'" };

/** A version, with 0 the one that is meant; null if there is none. */
export async function findTemplate(
  db: Db,
  tenant: string,
  name: string,
  version: number,
  meant: Meant,
): Promise<Template | null> {
  const { rows } = await db.query<VersionRow>(
    `select ${columns}
       from job.template t
       join job.template_version v on v.template_id = t.id
      where t.tenant = $1 and t.name = $2 and ($3 = 0 or v.version = $3)
      order by (${preferred[meant]}) desc, v.version desc
      limit 1`,
    [tenant, name, version],
  );
  return rows[0] === undefined ? null : toTemplate(rows[0]);
}

/** A version of a template that somebody wants to make a job from; 0 is the newest that is PUBLISHED. */
interface WantedTemplate {
  readonly tenant: string;
  readonly name: string;
  readonly version: number;
}

export interface FoundTemplate {
  /** Null if there is no such version, or with 0 none that is PUBLISHED. */
  readonly template: Template | null;
  /** Whether there is a template of that name at all. */
  readonly isKnown: boolean;
}

/** What was wanted, in its order; of many at once. The same version is the same object, so that many jobs share one spec. */
export async function findUsedTemplates(db: Db, wanted: readonly WantedTemplate[]): Promise<readonly FoundTemplate[]> {
  const distinct = new Map(wanted.map((one) => [keyOf(one), one]));
  const asked = [...distinct.values()];
  const { rows } = await db.query<VersionRow & { position: number; known: boolean }>({
    name: "find_used_templates",
    text: `select w.position::int as position, t.id is not null as known, ${columns}
             from unnest($1::text[], $2::text[], $3::int[]) with ordinality as w (tenant, name, version, position)
             left join job.template t on t.tenant = w.tenant and t.name = w.name
             left join lateral (
               select * from job.template_version v
                where v.template_id = t.id
                  and (v.version = w.version or w.version = 0 and v.state = 'PUBLISHED')
                order by v.version desc
                limit 1
             ) v on true
            order by w.position`,
    values: [asked.map(({ tenant }) => tenant), asked.map(({ name }) => name), asked.map(({ version }) => version)],
  });
  const found = new Map(
    [...distinct.keys()].map((key, index) => {
      const row = rows[index];
      const template = row === undefined || row.state === null ? null : toTemplate(row);
      return [key, { template, isKnown: row?.known === true }];
    }),
  );
  return wanted.map((one) => found.get(keyOf(one)) ?? { template: null, isKnown: false });
}

function keyOf({ tenant, name, version }: WantedTemplate): string {
  return JSON.stringify([tenant, name, version]);
}

/** Makes the next version, a DRAFT; gives it back. */
export async function insertDraft(db: Db, templateId: string, spec: TemplateSpec): Promise<Template> {
  const { rows } = await db.query<VersionRow>(
    `with v as (
       insert into job.template_version (template_id, version, state, spec)
       select $1, coalesce(max(version), 0) + 1, 'DRAFT', $2::json from job.template_version where template_id = $1
       returning *
     )
     select ${columns} from v join job.template t on t.id = v.template_id`,
    [templateId, JSON.stringify(TemplateSpec.toJSON(spec))],
  );
  if (rows[0] === undefined) throw new Error("an insert gave nothing back");
  return toTemplate(rows[0]);
}

/** Saves a version that still has the revision that was read, and gives it back; throws ABORTED if it has another. */
export async function saveVersion(db: Db, before: Template, after: Template): Promise<Template> {
  const { rows } = await db.query<VersionRow>(
    `with v as (
       update job.template_version
          set state = $4, revision = $5, update_time = clock_timestamp(),
              spec = case when state = 'DRAFT' then $6::json else spec end,
              publish_time = case when $4 = 'PUBLISHED' then clock_timestamp() else publish_time end
        where template_id = $1 and version = $2 and revision = $3 and state = $7
       returning *
     )
     select ${columns} from v join job.template t on t.id = v.template_id`,
    [
      after.id,
      after.version,
      before.revision,
      after.state,
      after.revision,
      JSON.stringify(TemplateSpec.toJSON(after.spec)),
      before.state,
    ],
  );
  if (rows[0] !== undefined) return toTemplate(rows[0]);
  throw new DomainError({
    code: "ABORTED",
    reason: "TEMPLATE_CHANGED",
    message: `version ${after.version} of template ${after.name} has changed since it was read; read it again`,
  });
}

/** The number that the next fact of a locked template has. */
export async function nextSequence(db: Db, templateId: string): Promise<number> {
  const { rows } = await db.query<{ sequence: number }>(
    "update job.template set sequence = sequence + 1 where id = $1 returning sequence",
    [templateId],
  );
  if (rows[0] === undefined) throw new Error("a locked template is gone");
  return rows[0].sequence;
}

interface TemplateListQuery {
  readonly tenant: string;
  readonly afterName: string;
  readonly filter: Filter | null;
  readonly limit: number;
}

const filterColumns = { name: "t.name", state: "v.state" };

/** Templates by name, of each the newest PUBLISHED version, or the newest of all. */
export async function listTemplates(
  db: Db,
  { tenant, afterName, filter, limit }: TemplateListQuery,
): Promise<readonly Template[]> {
  const values: unknown[] = [tenant, afterName, limit];
  const { rows } = await db.query<VersionRow>({
    text: `select ${columns}
             from job.template t
             cross join lateral (
               select * from job.template_version v
                where v.template_id = t.id
                order by (v.state = 'PUBLISHED') desc, v.version desc
                limit 1
             ) v
            where t.tenant = $1 and t.name > $2 and ${filterToSql(filter, filterColumns, values)}
            order by t.name
            limit $3`,
    values,
  });
  return rows.map(toTemplate);
}

/** Versions below one, the newest first. */
export async function listVersions(
  db: Db,
  tenant: string,
  name: string,
  below: number,
  limit: number,
): Promise<readonly Template[]> {
  const { rows } = await db.query<VersionRow>(
    `select ${columns}
       from job.template t
       join job.template_version v on v.template_id = t.id
      where t.tenant = $1 and t.name = $2 and v.version < $3
      order by v.version desc
      limit $4`,
    [tenant, name, below, limit],
  );
  return rows.map(toTemplate);
}

/** How many jobs were made from a version, by state. */
export interface StateCount {
  readonly version: number;
  readonly state: string;
  readonly jobs: number;
}

/**
 * Counted in the index `job_by_template` when somebody asks, so that no job, templated or not, ever writes a counter that could be
 * wrong: 1,000,000 jobs of a version take some 0.1 s.
 */
export async function countJobs(
  db: Db,
  tenant: string,
  name: string,
  versions: readonly number[],
): Promise<readonly StateCount[]> {
  const { rows } = await db.query<StateCount>({
    name: "count_template_jobs",
    text: `select template_version as version, state, count(*)::float8 as jobs
             from job.job
            where tenant = $1 and template = $2 and template_version = any($3::int[])
            group by template_version, state`,
    values: [tenant, name, versions],
  });
  return rows;
}
