/**
 * Users: they submit jobs of all kinds, repeat what was not answered with the same key, repeat some that were, cancel some, retry some
 * that failed, and watch some to their end. All they do and are told goes into the history.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { SubmitJobRequest } from "@capstan/proto/capstan/job/v1/job_service.ts";
import type { Random } from "../support/random.ts";
import { codeOf, type HistoryWriter, type Outcome, outcomeOfCode } from "./history.ts";
import type { Kind, MakeJob } from "./jobs.ts";
import { watchToEnd } from "./observers.ts";
import type { Platform } from "./platform.ts";

export interface Load {
  /** Jobs of this kind beside the others, repeated until they are accepted; gives back their ids. */
  add(kind: Kind, count: number): Promise<readonly string[]>;
  /** No new jobs; resolves when nothing is under way. */
  stop(): Promise<void>;
}

export interface LoadOptions {
  readonly platform: Platform;
  readonly history: HistoryWriter;
  readonly makeJob: MakeJob;
  readonly random: Random;
  readonly rate: number;
}

/** More jobs than this that have not ended, and no more come until there are fewer. */
const maxLive = 600;
const batchSize = 10;
const watchedShare = 0.01;
const cancelledShare = 0.02;
const repeatedShare = 0.02;

export function startLoad({ platform, history, makeJob, random, rate }: LoadOptions): Load {
  const { user } = platform;
  const stopping = new AbortController();
  const underWay = new Set<Promise<unknown>>();
  let count = 0;
  let live = 0;

  const run = (work: Promise<unknown>) => {
    underWay.add(work);
    void work.finally(() => underWay.delete(work));
  };
  const nextKey = (kind: Kind) => `${kind}-${count++}`;

  function pickKind(): Kind {
    const roll = random.next();
    if (platform.engine !== null && roll < 0.005) return "container";
    if (roll < 0.045) return "process";
    if (roll < 0.065) return "workflow";
    if (roll < 0.085) return "narrow";
    if (roll < 0.105) return "failing";
    return "handler";
  }

  /** One call; what it says of each job goes into the history. Gives back the keys whose outcome is not known. */
  async function submitOnce(orders: readonly Order[]): Promise<readonly Order[]> {
    const open: Order[] = [];
    const note = ({ key, kind }: Order, outcome: Outcome, jobId: string | null, code: string) =>
      history.submitted({ key, kind, outcome, jobId, code });
    try {
      const { results } = await user.jobs.submitJobs(
        { requests: orders.map(({ request }) => request) },
        { deadlineMs: 5_000 },
      );
      for (const [at, order] of orders.entries()) {
        const outcome = results[at]?.outcome;
        if (outcome?.$case === "accepted") {
          note(order, "ok", outcome.value.jobId, "");
          accepted(order, outcome.value.jobId);
        } else {
          const code = outcome?.$case === "refused" ? outcome.value.code : "UNKNOWN";
          note(order, outcomeOfCode(code), null, code);
          if (outcomeOfCode(code) === "unknown") open.push(order);
        }
      }
    } catch (error) {
      const code = codeOf(error);
      for (const order of orders) note(order, outcomeOfCode(code), null, code);
      if (outcomeOfCode(code) === "unknown") open.push(...orders);
    }
    return open;
  }

  /** Some unknown outcomes are left unknown for ever. */
  async function submit(orders: readonly Order[]): Promise<void> {
    let open = await submitOnce(orders);
    for (let round = 0; open.length > 0 && round < 40 && !stopping.signal.aborted; round++) {
      open = open.filter(() => random.next() < 0.97);
      await sleep(100 + 50 * Math.min(round, 10));
      if (open.length > 0) open = await submitOnce(open);
    }
  }

  function accepted(order: Order, jobId: string): void {
    if (stopping.signal.aborted) return;
    if (random.next() < repeatedShare) run(submitOnce([order]));
    if (random.next() < watchedShare) run(watchToEnd(platform, history, jobId, stopping.signal));
    if (random.next() < cancelledShare) run(cancel(jobId));
    if (order.kind === "failing" && random.next() < 0.2) run(retry(order, jobId));
  }

  async function cancel(jobId: string): Promise<void> {
    await sleep(random.between(0, 300));
    const outcome: Outcome = await user.jobs.cancelJob({ jobId, message: "chaos" }, { deadlineMs: 5_000 }).then(
      () => "ok",
      (error: unknown) => outcomeOfCode(codeOf(error)),
    );
    history.cancelled(jobId, outcome);
  }

  /** A new job after one that failed; not yet ended is refused, and that is fine. */
  async function retry({ key, kind }: Order, jobId: string): Promise<void> {
    await sleep(3_000);
    const retryKey = `${key}-again`;
    await user.jobs.retryJob({ jobId, requestId: retryKey, fromFailed: false }, { deadlineMs: 5_000 }).then(
      ({ job }) => history.submitted({ key: retryKey, kind, outcome: "ok", jobId: job?.id ?? null, code: "" }),
      (error: unknown) => {
        const code = codeOf(error);
        history.submitted({ key: retryKey, kind, outcome: outcomeOfCode(code), jobId: null, code });
      },
    );
  }

  async function keepCount(): Promise<void> {
    while (!stopping.signal.aborted) {
      // While it cannot be counted, nothing is held back: callers do not know either.
      const rows = await platform
        .query("select count(*)::int as live from job.job where end_time is null")
        .catch(() => []);
      live = Number(rows[0]?.["live"] ?? 0);
      await sleep(500);
    }
  }

  async function submitSteadily(): Promise<void> {
    const begin = performance.now();
    let due = 0;
    while (!stopping.signal.aborted) {
      await sleep(20);
      const want = ((performance.now() - begin) / 1_000) * rate;
      if (live > maxLive || underWay.size > 200) {
        due = want;
        continue;
      }
      while (due + batchSize <= want) {
        due += batchSize;
        const orders = Array.from({ length: batchSize }, () => orderOf(pickKind()));
        run(submit(orders));
      }
    }
  }

  const orderOf = (kind: Kind): Order => {
    const key = nextKey(kind);
    return { key, kind, request: makeJob(kind, key) };
  };

  run(submitSteadily());
  run(keepCount());

  return {
    add: async (kind, size) => {
      const orders = Array.from({ length: size }, () => orderOf(kind));
      let open: readonly Order[] = orders;
      for (let round = 0; open.length > 0 && round < 300; round++) {
        open = await submitOnce(open);
        if (open.length > 0) await sleep(100);
      }
      const keys = new Set(orders.map(({ key }) => key));
      return history.submits.flatMap(({ key, jobId }) => (keys.has(key) && jobId !== null ? [jobId] : []));
    },
    stop: async () => {
      stopping.abort();
      while (underWay.size > 0) await Promise.allSettled([...underWay]);
    },
  };
}

interface Order {
  readonly key: string;
  readonly kind: Kind;
  readonly request: SubmitJobRequest;
}
