/** The connection to NATS: it waits for a server that is not there yet, and comes back after any outage, for ever. */
import type { Log } from "@capstan/postgres";
import { connect, type NatsConnection } from "@nats-io/transport-node";

interface NatsOptions {
  /** `nats://[user:password@]host:port`, or several of them with commas; they share the first one's user. */
  readonly url: string;
  /** Shown in the server's list of connections. */
  readonly name: string;
  readonly log: Log;
}

/**
 * Resolves when connected, however long that takes; a server that cannot be reached is said so once. A lost one is noticed within
 * 15 s even when it is frozen and its sockets stay open. End it with `drain` or `close`.
 */
export async function connectNats({ url, name, log }: NatsOptions): Promise<NatsConnection> {
  const addresses = url.split(",").map((server) => new URL(server));
  const hosts = addresses.map(({ host }) => host); // an address may hold a password, which must not be logged
  const servers = addresses.map(({ protocol, host }) => `${protocol}//${host}`);
  const { username = "", password = "" } = addresses[0] ?? {};
  // The client takes no user from an address.
  const user = username === "" ? {} : { user: decodeURIComponent(username), pass: decodeURIComponent(password) };
  const hint = setTimeout(() => log.warn({ servers: hosts }, "nats cannot be reached, trying on"), 2_000);
  try {
    const nc = await connect({
      servers,
      name,
      ...user,
      waitOnFirstConnect: true,
      ignoreAuthErrorAbort: true, // a password that is being rotated must not end the connection for good
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      reconnectJitter: 250,
      pingInterval: 5_000,
      maxPingOut: 2,
      noAsyncTraces: true, // a stack trace per request doubles its cost
    });
    void logStatus(nc, log);
    return nc;
  } finally {
    clearTimeout(hint);
  }
}

async function logStatus(nc: NatsConnection, log: Log): Promise<void> {
  for await (const status of nc.status()) {
    if (status.type === "disconnect") log.warn({ server: status.server }, "nats connection was lost");
    if (status.type === "reconnect") log.info({ server: status.server }, "nats connection is back");
    if (status.type === "error") log.warn({ err: status.error }, "nats refused something");
  }
}
