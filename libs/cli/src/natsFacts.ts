/** Reads the facts of all contexts from JetStream as they come. Leaves nothing behind: ordered consumers are not durable. */
import {
  DeliverPolicy,
  type JsMsg,
  jetstream,
  jetstreamManager,
  type OrderedConsumerOptions,
} from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { UnreachableError } from "./failure.ts";

/** Where to begin in each stream; a number is a sequence of the stream, not of a job. */
export type FactStart = "new" | "all" | number;

const startOptions = (start: FactStart): Partial<OrderedConsumerOptions> => {
  if (start === "new") return { deliver_policy: DeliverPolicy.New };
  return start === "all"
    ? { deliver_policy: DeliverPolicy.All }
    : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: start };
};

/** An address may hold a password, which is nobody's business on a screen. */
function hostsOf(url: string): string {
  return url
    .split(",")
    .map((server) => server.replace(/^.*@/, "").replace(/^\w+:\/\//, ""))
    .join(",");
}

async function open(url: string): Promise<NatsConnection> {
  try {
    return await connect({
      servers: url.split(","),
      name: "capstan events tail",
      timeout: 3_000,
      maxReconnectAttempts: -1,
    });
  } catch (error) {
    const hint = "start the platform with npm start, or set CAPSTAN_NATS_URL";
    throw new UnreachableError(`cannot reach NATS at ${hostsOf(url)}; ${hint}`, { cause: error });
  }
}

/**
 * Calls `onMessage` for every fact until the process ends; facts of one context come in order, one after the other. Fails at once
 * if there is no stream, which means that no service has ever run there.
 */
export async function readFacts(
  options: { readonly url: string; readonly subject: string; readonly start: FactStart },
  onMessage: (message: JsMsg) => Promise<void>,
): Promise<void> {
  const nc = await open(options.url);
  try {
    const streams: string[] = [];
    for await (const name of (await jetstreamManager(nc)).streams.names(options.subject)) {
      if (name.startsWith("CAPSTAN_")) streams.push(name);
    }
    if (streams.length === 0) {
      throw new UnreachableError(`NATS at ${hostsOf(options.url)} has no stream of Capstan with ${options.subject}`);
    }
    await Promise.all(streams.map((stream) => readStream(nc, stream, options, onMessage)));
  } finally {
    await nc.close();
  }
}

async function readStream(
  nc: NatsConnection,
  stream: string,
  { subject, start }: { readonly subject: string; readonly start: FactStart },
  onMessage: (message: JsMsg) => Promise<void>,
): Promise<void> {
  const consumer = await jetstream(nc).consumers.get(stream, { ...startOptions(start), filter_subjects: [subject] });
  for await (const message of await consumer.consume()) await onMessage(message);
}
