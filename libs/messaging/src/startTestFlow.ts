/** Facts on their way from a database to consumers over a NATS server of their own, for the specs beside this file. */
import { appendFacts, type Fact, openPool, type Pool, startRelay } from "@capstan/postgres";
import type { NatsConnection } from "@nats-io/transport-node";
import { createMigratedDatabase, createTestLog } from "../../../test/support/database.ts";
import { createTestLoops } from "../../../test/support/loops.ts";
import { startTestNats, type TestNats } from "../../../test/support/nats.ts";
import { connectNats } from "./connection.ts";
import { type ConsumeOptions, consumeFacts, type FactConsumer } from "./consumer.ts";
import { createPublisher } from "./publisher.ts";
import type { ReceivedFact } from "./receivedFact.ts";

export interface TestFlow {
  readonly nats: TestNats;
  readonly pool: Pool;
  readonly nc: NatsConnection;
  readonly log: ReturnType<typeof createTestLog>;
  publish(...facts: readonly Fact[]): Promise<void>;
  /** A consumer, which keeps what it is given unless it is given another handler. */
  consume(change?: Partial<ConsumeOptions>): { readonly received: ReceivedFact[]; readonly consumer: FactConsumer };
  stop(): Promise<void>;
}

export async function startTestFlow(): Promise<TestFlow> {
  const log = createTestLog();
  const [nats, database] = await Promise.all([startTestNats(), createMigratedDatabase("job")]);
  const pool = openPool({ url: database.url, schema: "job", log, max: 8 });
  const nc = await connectNats({ url: nats.url, name: "test", log });
  const loops = createTestLoops();
  const relay = startRelay({
    pool,
    context: "job",
    publish: createPublisher({ nc, context: "job", db: pool, log }),
    log,
    app: loops,
  });
  const consumers: FactConsumer[] = [];
  return {
    nats,
    pool,
    nc,
    log,
    async publish(...facts) {
      await appendFacts(pool, facts);
      relay.wake();
    },
    consume(change = {}) {
      const received: ReceivedFact[] = [];
      const handle = async (facts: readonly ReceivedFact[]) => void received.push(...facts);
      const consumer = consumeFacts({
        nc,
        db: pool,
        contexts: ["job"],
        durable: "orchestrator",
        handle,
        log,
        ...change,
      });
      consumers.push(consumer);
      return { received, consumer };
    },
    async stop() {
      await Promise.all(consumers.map((consumer) => consumer.stop()));
      await loops.stop();
      await nc.close();
      await pool.end();
      await Promise.all([database.drop(), nats.release()]);
    },
  };
}

/** The sequences of one aggregate in the order they arrived, without repetitions. */
export function firstArrivals(facts: readonly ReceivedFact[], aggregateId: string): readonly number[] {
  return [...new Set(facts.filter((fact) => fact.aggregateId === aggregateId).map((fact) => fact.sequence))];
}

export function oneTo(n: number): readonly number[] {
  return Array.from({ length: n }, (_, at) => at + 1);
}
