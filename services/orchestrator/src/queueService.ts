/** The RPCs of queues. Each reads: check the request, lock, decide, save, tell. */
import { DomainError, type FieldViolation, invalid, notFound } from "@capstan/errors";
import { type Call, decodePageToken, encodePageToken, pageSize, unary } from "@capstan/grpc";
import { appendFacts, type Db, inTransaction, type Pool, uuidv7 } from "@capstan/postgres";
import type { QueueServiceServer } from "@capstan/proto/capstan/orchestrator/v1/queue_service.ts";
import type { DrainRates } from "./drainRate.ts";
import { explain } from "./explainJob.ts";
import type { Contexts } from "./perform.ts";
import type { Placing } from "./placeSagas.ts";
import {
  apply,
  checkSettings,
  isQueueName,
  pause,
  type Queue,
  type QueueEvent,
  type QueueSettings,
  remove,
  resume,
  set,
  unsetQueue,
} from "./queue.ts";
import { queueFact, queueMessage, settingsOf, viewMessage } from "./queueProto.ts";
import { countQueues, deleteQueue, findQueue, listQueues, lockOrBegin, saveQueue } from "./queueStore.ts";
import { simulateLoads } from "./simulateLoads.ts";

interface QueueServiceOptions {
  readonly pool: Pool;
  readonly contexts: Contexts;
  readonly drain: DrainRates;
  /** Told that the settings of a queue have changed. */
  readonly placing: Pick<Placing, "requeued">;
}

const maxQueuesOfTenant = 1_000;
const maxMessageLength = 256;
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
const controlCharacters = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

export function createQueueService(options: QueueServiceOptions): QueueServiceServer {
  const { pool, contexts, drain, placing } = options;

  /** Moves one queue, which is made if nobody has set it. */
  async function move(name: string, { tenant, traceparent }: Call, decide: (queue: Queue) => readonly QueueEvent[]) {
    const queue = await inTransaction(pool, async (db) => {
      const { queue: before, now } = await lockOrBegin(db, { tenant, queue: name }, uuidv7());
      // Whoever decides on a queue that nobody has set sees it with what it works with.
      const events = decide(before.version === 0 ? { ...unsetQueue(tenant, name), id: before.id } : before);
      if (before.version === 0) await checkRoomForMore(db, tenant);
      return save(db, before, events, now, traceparent);
    });
    placing.requeued();
    return { queue: queueMessage(queue) };
  }

  async function save(db: Db, before: Queue, events: readonly QueueEvent[], now: Date, traceparent: string | null) {
    let queue = before;
    const facts = events.map((event) => {
      queue = apply(queue, event, now);
      return queueFact(queue, event.type, traceparent);
    });
    if (facts.length === 0) return queue;
    await saveQueue(db, queue);
    await appendFacts(db, facts);
    return queue;
  }

  /** The job context refuses what is too deep, and has to know before the queue says so. */
  async function tellDepth({ tenant }: Call, queue: string, maxDepth: number): Promise<void> {
    const drainPerSecond = drain.perSecond(tenant, queue);
    await contexts.jobs.setQueueLimits({ limits: [{ tenant, queue, maxDepth, drainPerSecond }] });
  }

  async function viewsOf(queues: readonly Queue[]) {
    const counts = await countQueues(
      pool,
      queues.map(({ tenant, name }) => ({ tenant, queue: name })),
    );
    return queues.map((queue, index) => viewMessage(queue, counts[index], drain.perSecond(queue.tenant, queue.name)));
  }

  async function findOrUnset(tenant: string, name: string): Promise<Queue> {
    return (await findQueue(pool, { tenant, queue: name })) ?? unsetQueue(tenant, name);
  }

  return {
    getQueue: unary(async ({ queue }, { tenant }) => {
      refuseIfAny(checkName(queue));
      const [view] = await viewsOf([await findOrUnset(tenant, queue)]);
      return { queue: view };
    }),

    listQueues: unary(async (request, { tenant }) => {
      const query = { list: "queues", tenant };
      const limit = pageSize(request.pageSize);
      const after = decodePageToken(request.pageToken, query)?.[0] ?? "";
      const found = [...(await listQueues(pool, tenant, after, limit + 1))];
      // It is there without being set; its place is where its name is.
      const isDue = after < "default" && !found.some(({ name }) => name === "default");
      if (isDue) found.push(await findOrUnset(tenant, "default"));
      const page = found.sort((a, b) => (a.name < b.name ? -1 : 1)).slice(0, limit);
      const last = found.length > limit ? page.at(-1) : undefined;
      return {
        queues: await viewsOf(page),
        nextPageToken: last === undefined ? "" : encodePageToken(query, [last.name]),
      };
    }),

    setQueue: unary(async (request, call) => {
      const settings = settingsOf(request.settings);
      refuseIfAny([...checkName(request.queue), ...checkSettings(settings, "settings")]);
      const before = await findOrUnset(call.tenant, request.queue);
      if (before.settings.maxDepth !== settings.maxDepth) await tellDepth(call, request.queue, settings.maxDepth);
      return move(request.queue, call, (queue) => some(set(queue, settings, request.etag)));
    }),

    pauseQueue: unary(async ({ queue: name, message }, call) => {
      const bad = [...checkName(name)];
      if (message.length > maxMessageLength)
        bad.push({ field: "message", description: "has more than 256 characters" });
      if (controlCharacters.test(message))
        bad.push({ field: "message", description: "must not contain control characters" });
      refuseIfAny(bad);
      return move(name, call, (queue) => [...begun(queue), ...some(pause(queue, message))]);
    }),

    resumeQueue: unary(async ({ queue: name }, call) => {
      refuseIfAny(checkName(name));
      if ((await findQueue(pool, { tenant: call.tenant, queue: name })) === null)
        return { queue: queueMessage(unsetQueue(call.tenant, name)) };
      return move(name, call, (queue) => [...begun(queue), ...some(resume(queue))]);
    }),

    deleteQueue: unary(async ({ queue: name, etag }, call) => {
      refuseIfAny(checkName(name));
      const key = { tenant: call.tenant, queue: name };
      const there = await findQueue(pool, key);
      if (there === null) throw notFound("queue", name);
      if (there.settings.maxDepth > 0) await tellDepth(call, name, 0);
      await inTransaction(pool, async (db) => {
        const { queue, now } = await lockOrBegin(db, key, uuidv7());
        if (queue.version === 0) throw notFound("queue", name);
        const [counts = { waiting: 0, running: 0 }] = await countQueues(db, [key]);
        await save(db, queue, [remove(queue, counts, etag)], now, call.traceparent);
        await deleteQueue(db, key);
      });
      placing.requeued();
      return {};
    }),

    simulateQueue: unary(async (request) => simulateLoads(request)),
    explainJob: unary(async (request, { tenant }) => explain(options, request, tenant, viewsOf)),
  };
}

/** What has to happen to a queue that nobody has set before anything else does. */
function begun({ version, settings }: Queue): readonly QueueEvent[] {
  return version === 0 ? [{ type: "created", settings: settings satisfies QueueSettings }] : [];
}

function some(event: QueueEvent | null): readonly QueueEvent[] {
  return event === null ? [] : [event];
}

function checkName(name: string): readonly FieldViolation[] {
  const description = "must be 1 to 63 characters of a-z, 0-9 and -, and begin and end with none of -";
  return isQueueName(name) ? [] : [{ field: "queue", description }];
}

function refuseIfAny(violations: readonly FieldViolation[]): void {
  if (violations.length > 0) throw invalid(violations);
}

async function checkRoomForMore(db: Db, tenant: string): Promise<void> {
  const there = await listQueues(db, tenant, "", maxQueuesOfTenant);
  if (there.length < maxQueuesOfTenant) return;
  throw new DomainError({
    code: "RESOURCE_EXHAUSTED",
    reason: "TOO_MANY_QUEUES",
    message: `tenant ${tenant} has ${there.length} queues; the limit is ${maxQueuesOfTenant}`,
    metadata: { limit: String(maxQueuesOfTenant) },
  });
}
