/**
 * The figures of jobs that are handlers, for Capstan and its peers alike: submitted in batches, one by one and by raw calls while a
 * worker runs them; latency at a steady rate; a backlog that waits and is then drained. The clock stops when the end of the last
 * job is durable and, of Capstan, published.
 */
import { noteCosts, type Sources } from "./counters.ts";
import type { Ends } from "./ends.ts";
import { type Figures, percentile } from "./figures.ts";
import type { How, Load } from "./load.ts";
import type { Options } from "./options.ts";
import { cpuMs } from "./processes.ts";

/** One system, running, and how to tell what it has done. */
export interface Subject {
  readonly load: Load;
  readonly ends: Ends;
  readonly sources: Sources;
  readonly figures: Figures;
  /** Whether it knows submitting by raw calls. */
  readonly hasUnary: boolean;
  /** Answers when the end of everything that has ended is durable. */
  settle(): Promise<void>;
  /** Fails unless the store has so many jobs more that have succeeded than when it was asked last, and none that lives. */
  check(jobs: number): Promise<void>;
  /** Answers when so many jobs wait and nothing is left to be done with them until a worker comes. */
  areWaiting(jobs: number): Promise<void>;
}

export async function measureHandlers(subject: Subject, options: Options): Promise<void> {
  const { load, figures, sources } = subject;
  const { jobs } = options;
  await load.work(options.slots);
  await runJobs(subject, "batches", Math.min(jobs, 2_000)); // so that code and plans are warm
  await noteLatency(subject, options);
  let perSecond = 0;
  await noteCosts(figures, "handler job", jobs, sources, async () => {
    perSecond = await runJobs(subject, "batches", jobs);
  });
  figures.note("handler jobs, submitted in batches", "jobs/s", perSecond);
  await noteOneByOne(subject, "singly", "submitted one by one", jobs);
  if (subject.hasUnary) await noteOneByOne(subject, "unary", "a raw call each", jobs);
  await load.rest();
}

async function noteOneByOne(subject: Subject, how: How, name: string, jobs: number): Promise<void> {
  const { figures, sources } = subject;
  const roots = Object.values(sources.processes).flat();
  const cpuBefore = cpuMs(roots);
  figures.note(`handler jobs, ${name}, 64 in flight`, "jobs/s", await runJobs(subject, how, jobs));
  figures.note(`CPU per handler job, ${name}, all processes`, "ms", (cpuMs(roots) - cpuBefore) / jobs);
}

/** Submits while the worker runs; gives back jobs per second from the first submit to the end of the last. */
async function runJobs({ load, ends, settle, check }: Subject, how: How, jobs: number): Promise<number> {
  ends.expect(jobs);
  const start = performance.now();
  await load.submit(how, jobs);
  await ends.reached();
  await settle();
  const seconds = (performance.now() - start) / 1_000;
  await check(jobs);
  return jobs / seconds;
}

async function noteLatency({ load, ends, figures, settle, check }: Subject, options: Options): Promise<void> {
  const jobs = 50 * options.latencySeconds;
  ends.expect(jobs);
  const values = await load.latencies(50, options.latencySeconds);
  for (const share of [0.5, 0.99])
    figures.note(`submit to handler start at 50 jobs/s, p${share * 100}`, "ms", percentile(values, share));
  await ends.reached();
  await settle();
  await check(jobs);
}

/** `whileWaiting` is called when all are submitted and none has run. */
export async function measureBacklog(
  subject: Subject,
  { backlog, slots }: Options,
  whileWaiting: () => Promise<void> = async () => {},
): Promise<void> {
  const { load, ends, figures } = subject;
  const size = backlog.toLocaleString("en");
  const submitStart = performance.now();
  await load.submit("batches", backlog);
  const submitSeconds = (performance.now() - submitStart) / 1_000;
  figures.note(`backlog of ${size} submitted`, "jobs/s", backlog / submitSeconds);
  await subject.areWaiting(backlog);
  await whileWaiting();
  ends.expect(backlog);
  const start = performance.now();
  await load.work(slots);
  await ends.reached();
  await subject.settle();
  figures.note(`backlog of ${size} drained`, "jobs/s", (backlog * 1_000) / (performance.now() - start));
  const share = Math.min(20_000, Math.floor(backlog / 4));
  const { first, last } = ends.rates(share);
  const shareSize = share.toLocaleString("en");
  // A backlog too small to be told apart in time has no rates.
  if (Number.isFinite(first) && Number.isFinite(last))
    figures.note(`backlog: rate of the last ${shareSize} against the first`, "%", (100 * last) / first);
  await subject.check(backlog);
  await load.rest();
}
