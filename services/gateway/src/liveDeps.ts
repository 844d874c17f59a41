/** What serves live clients, made once for the process in live.ts. */
import type { NatsConnection } from "@capstan/messaging";
import type { LiveClients } from "./liveClients.ts";
import type { Feeds } from "./liveFeeds.ts";
import type { JobFollowers } from "./liveJobs.ts";
import type { KnownLabels } from "./liveLabels.ts";
import type { Executions } from "./liveLog.ts";
import type { LiveLimits } from "./liveMessage.ts";
import type { Budget } from "./liveOutlet.ts";
import type { Sessions } from "./sessions.ts";

export interface LiveDeps {
  readonly nats: NatsConnection;
  readonly executions: Executions;
  readonly sessions: Sessions;
  readonly clients: LiveClients;
  readonly feeds: Feeds;
  readonly jobFollowers: JobFollowers;
  readonly labels: KnownLabels;
  readonly limits: LiveLimits;
  readonly heartbeatMs: number;
  /** Of what waits for slow WebSockets, all together. */
  readonly budget: Budget;
}
