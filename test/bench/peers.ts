/** graphile-worker and pg-boss on the same Postgres, given the same work by the same code: `npm run bench -- --peers`. */
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import packageJson from "../../package.json" with { type: "json" };
import { createEnds } from "./ends.ts";
import { createFigures, type Figures } from "./figures.ts";
import { startLoad } from "./load.ts";
import type { Options } from "./options.ts";
import type { Servers } from "./servers.ts";
import type { SystemName } from "./systems/system.ts";
import { measureBacklog, measureHandlers, type Subject } from "./workerFigures.ts";

interface Peer {
  readonly name: string;
  readonly system: SystemName;
  readonly database: string;
  /** Jobs that have not ended. */
  readonly countLive: string;
  /** All that have succeeded and are kept; null where they are deleted. */
  readonly countSucceeded: string | null;
}

const versions = packageJson.devDependencies;

const pgBoss = {
  countLive: "select count(*)::int as jobs from pgboss.job where name = 'bench' and state < 'completed'",
  countSucceeded: "select count(*)::int as jobs from pgboss.job where name = 'bench' and state = 'completed'",
};

const peers: readonly Peer[] = [
  {
    name: `graphile-worker ${versions["graphile-worker"]}`,
    system: "graphileWorker",
    database: "graphile_worker",
    countLive: "select count(*)::int as jobs from graphile_worker._private_jobs",
    countSucceeded: null,
  },
  { ...pgBoss, name: `pg-boss ${versions["pg-boss"]}`, system: "pgBoss", database: "pg_boss" },
  { ...pgBoss, name: `pg-boss ${versions["pg-boss"]}, polling`, system: "pgBossPolling", database: "pg_boss_polling" },
];

export async function measurePeers(servers: Servers, options: Options): Promise<ReadonlyMap<string, Figures>> {
  const figures = new Map(peers.map(({ name }) => [name, createFigures(name)]));
  const urls = new Map<Peer, string>();
  for (const peer of peers) urls.set(peer, await servers.createDatabase(peer.database));
  for (let run = 1; run <= options.runs; run += 1) {
    process.stderr.write(`peers, run ${run} of ${options.runs}\n`);
    for (const [peer, url] of urls) {
      const subject = await openPeer(servers, peer, url, figures.get(peer.name) ?? createFigures(peer.name));
      try {
        await measureHandlers(subject, options);
        await measureBacklog(subject, options);
      } finally {
        await subject.close();
      }
    }
  }
  return figures;
}

async function openPeer(
  servers: Servers,
  peer: Peer,
  url: string,
  figures: Figures,
): Promise<Subject & { close(): Promise<void> }> {
  const ends = createEnds();
  const load = await startLoad(peer.system, url, (count) => ends.add(count));
  const client = new Client({ connectionString: url });
  await client.connect();
  const count = async (sql: string) => (await client.query<{ jobs: number }>(sql)).rows[0]?.jobs ?? Number.NaN;
  const countSucceeded = async () => (peer.countSucceeded === null ? 0 : count(peer.countSucceeded));
  let succeeded = await countSucceeded();
  return {
    load,
    ends,
    figures,
    hasUnary: false,
    sources: {
      admin: servers.admin,
      database: peer.database,
      processes: { "worker and client": [load.pid], Postgres: [servers.postgres.pid] },
      nats: null,
      rpcs: null,
    },
    async settle() {
      while ((await count(peer.countLive)) > 0) await sleep(5);
    },
    async check(jobs) {
      const before = succeeded;
      succeeded = await countSucceeded();
      if (peer.countSucceeded !== null && succeeded - before !== jobs)
        throw new Error(`${peer.name} has ${succeeded - before} more jobs that have succeeded, not ${jobs}`);
    },
    async areWaiting(jobs) {
      const live = await count(peer.countLive);
      if (live !== jobs) throw new Error(`${peer.name} has ${live} jobs waiting, not ${jobs}`);
    },
    async close() {
      await load.stop();
      await client.end();
    },
  };
}
