/** Live clients while what they depend on is stopped, killed or wiped: whoever comes back misses nothing. */
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { listEvents, requestOf, sh, submit, untilEnded } from "../support/jobs.ts";
import {
  eventsOf,
  type LiveEvent,
  openSocket,
  openSse,
  type SseClient,
  type SseMessage,
} from "../support/liveClients.ts";
import { useGateway } from "../support/useGateway.ts";
import { usePlatform } from "../support/usePlatform.ts";

const platform = usePlatform();
const gateway = useGateway(platform, { CAPSTAN_LIVE_HEARTBEAT_MS: "1000" });
const api = (path: string) => `${gateway().url}/api/v1/${path}`;

test("a gateway that stops tells its clients to leave, and says so of their sessions", async () => {
  const job = await submit(platform().capstan, sh("sleep 0.5"));
  const socket = await openSocket(api("live"));
  const { sessionId } = await socket.next({ type: "welcome" });
  socket.say({ type: "subscribe", id: "jobs", topic: "jobs" });
  await socket.next({ type: "subscribed" });
  const streams = await Promise.all([openSse(api("jobs:watch")), openSse(api(`jobs/${job.id}/events:watch`))]);
  const stopped = gateway().process.kill("SIGTERM");
  expect(await socket.closed).toEqual({ code: 1001, reason: "the gateway is stopping" });
  await Promise.all(streams.map(({ ended }) => ended));
  const start = performance.now();
  expect(await stopped, JSON.stringify(gateway().process.log.slice(-20), null, 1)).toBe(0);
  expect(performance.now() - start).toBeLessThan(10_000);
  await gateway().process.start();
  expect(await (await fetch(api(`sessions/${sessionId}`))).json()).toMatchObject({
    session: { state: "SESSION_STATE_ENDED", reason: "SESSION_REASON_GATEWAY_STOPPED" },
  });
});

/** Reads the events of a job as an EventSource does: whenever the stream ends, again after the last event; until there is nothing more. */
async function followJob(jobId: string): Promise<{ readonly events: readonly LiveEvent[]; readonly attempts: number }> {
  const messages: SseMessage[] = [];
  let last = "";
  for (let attempts = 1; ; attempts += 1) {
    const stream = await untilAnswered(() =>
      openSse(api(`jobs/${jobId}/events:watch`), last === "" ? {} : { "last-event-id": last }),
    );
    if (stream.status === 204) return { events: eventsOf({ messages }), attempts };
    await stream.ended;
    messages.push(...stream.messages);
    last = stream.lastEventId;
  }
}

/** The same of all jobs, until it is told to stop. */
function followJobs(query = ""): {
  readonly messages: readonly SseMessage[];
  stop(): void;
  readonly opened: Promise<void>;
} {
  const messages: SseMessage[] = [];
  const opened = Promise.withResolvers<void>();
  let isStopped = false;
  let current: SseClient | null = null;
  let before = 0;
  async function run(): Promise<void> {
    let last = "";
    while (!isStopped) {
      const headers: Record<string, string> = last === "" ? {} : { "last-event-id": last };
      const stream = await untilAnswered(() => openSse(api(`jobs:watch${query}`), headers));
      current = stream;
      if (last === "") await eventually(() => expect(stream.lastEventId).not.toBe(""));
      opened.resolve();
      await stream.ended;
      messages.push(...stream.messages);
      before = messages.length;
      current = null;
      last = stream.lastEventId;
    }
  }
  void run();
  return {
    get messages() {
      return current === null ? messages.slice(0, before) : [...messages, ...current.messages];
    },
    stop() {
      isStopped = true;
      current?.close();
    },
    opened: opened.promise,
  };
}

/** A gateway that is down, or cannot reach a context, is asked again. */
function untilAnswered(ask: () => Promise<SseClient>): Promise<SseClient> {
  return eventually(async () => {
    const stream = await ask();
    if (stream.status >= 500) throw new Error(`answered ${stream.status}: ${JSON.stringify(stream.body)}`);
    return stream;
  }, 30_000);
}

const busy = Array.from({ length: 6 }, (_, index) => ({
  ...requestOf({ command: ["sleep", "0.3"] }).spec?.steps[0],
  name: `s${index}`,
  dependsOn: index === 0 ? [] : [`s${index - 1}`],
}));

/** A job whose facts come for some seconds. */
async function submitBusy(): Promise<string> {
  const request = requestOf({ command: ["true"] }, { name: "busy" });
  const spec = request.spec;
  if (spec === undefined) throw new Error("it has a spec");
  const steps = busy as unknown as typeof spec.steps;
  const { job } = await platform().capstan.jobs.submitJob({ ...request, spec: { ...spec, steps } });
  return job?.id ?? "";
}

/** Each job's events came once, in order, without a gap, as the log has them. */
async function expectWhole(jobId: string, events: readonly LiveEvent[]): Promise<void> {
  const log = await listEvents(platform().capstan, jobId);
  const own = events.filter(({ subject }) => subject === jobId);
  expect(own.map(({ sequence, id }) => [sequence, id])).toEqual(log.map(({ sequence, id }) => [sequence, id]));
}

test("a gateway that is killed while clients follow leaves no gap and no repetition, and its sessions are swept", async () => {
  const socket = await openSocket(api("live"));
  const { sessionId } = await socket.next({ type: "welcome" });
  await eventually(async () => expect((await fetch(api(`sessions/${sessionId}`))).status).toBe(200));
  const jobIds = await Promise.all([submitBusy(), submitBusy()]);
  const all = followJobs();
  await all.opened;
  const late = await submitBusy();
  const following = Promise.all([...jobIds, late].map(followJob));
  await eventually(() => expect(all.messages.length).toBeGreaterThan(3));
  await gateway().process.restart("SIGKILL");
  const followed = await following;
  for (const [index, jobId] of [...jobIds, late].entries()) await expectWhole(jobId, followed[index]?.events ?? []);
  expect(Math.max(...followed.map(({ attempts }) => attempts))).toBeGreaterThan(1);
  await eventually(async () => expectWhole(late, eventsOf(all)));
  // Whose gateway died is swept by another.
  await eventually(async () =>
    expect(await (await fetch(api(`sessions/${sessionId}`))).json()).toMatchObject({
      session: {
        state: "SESSION_STATE_ENDED",
        reason: "SESSION_REASON_GATEWAY_LOST",
        endTime: expect.any(String),
      },
    }),
  );
  all.stop();
});

test("NATS that is killed, and then loses all it held, leaves those who follow without a gap", async () => {
  const { nats, capstan } = platform();
  const all = followJobs();
  await all.opened;
  const socket = await openSocket(api("live"));
  socket.say({ type: "subscribe", id: "jobs", topic: "jobs" });
  await socket.next({ type: "subscribed", id: "jobs" });
  const jobIds = [await submitBusy()];
  socket.say({ type: "subscribe", id: "job", topic: "job", filter: { jobId: jobIds[0] }, afterSequence: 0 });
  const following = [followJob(jobIds[0] ?? "")];
  const untilSeen = (jobId: string) =>
    eventually(() => expect(eventsOf(all).some(({ subject }) => subject === jobId)).toBe(true), 30_000);
  await untilSeen(jobIds[0] ?? "");
  await nats.kill();
  jobIds.push(await submitBusy());
  following.push(followJob(jobIds[1] ?? ""));
  await nats.restart();
  await untilSeen(jobIds[1] ?? "");
  await nats.wipe();
  jobIds.push(await submitBusy());
  following.push(followJob(jobIds[2] ?? ""));
  await nats.restart();
  await untilSeen(jobIds[2] ?? "");
  await Promise.all(jobIds.map((id) => untilEnded(capstan, { id })));
  const followed = await Promise.all(following);
  for (const [index, jobId] of jobIds.entries()) {
    await expectWhole(jobId, followed[index]?.events ?? []);
    await eventually(() => expectWhole(jobId, eventsOf(all)), 30_000);
    await eventually(() => expectWhole(jobId, socket.events("jobs")), 30_000);
  }
  await expectWhole(jobIds[0] ?? "", socket.events("job"));
  // Whoever never left is told nothing twice, not even of what was before.
  for (const events of [eventsOf(all), socket.events("jobs")]) {
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    expect(new Set(events.map(({ subject }) => subject))).toEqual(new Set(jobIds));
  }
  all.stop();
  socket.close();
});

test("a job is followed while its context is away, and told when that is back", async () => {
  const { services } = platform();
  const jobId = await submitBusy();
  const following = followJob(jobId);
  const socket = await openSocket(api("live"));
  socket.say({ type: "subscribe", id: "job", topic: "job", filter: { jobId }, replay: 100 });
  await eventually(() => expect(socket.events("job").length).toBeGreaterThan(2));
  await services.job.restart("SIGKILL");
  const { events } = await following;
  await expectWhole(jobId, events);
  await socket.next({ type: "unsubscribed", id: "job" });
  await expectWhole(jobId, socket.events("job"));
  socket.close();
});
