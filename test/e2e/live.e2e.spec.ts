/** What live clients of the gateway see, over Server-Sent Events and the WebSocket, with the whole platform behind it. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { listEvents, requestOf, run, seconds, sh, submit, untilEnded, untilPlaced } from "../support/jobs.ts";
import { eventsOf, openSocket, openSse, shortTypeOf } from "../support/liveClients.ts";
import { useGateway } from "../support/useGateway.ts";
import { usePlatform } from "../support/usePlatform.ts";

const execute = promisify(execFile);
const platform = usePlatform();
const gateway = useGateway(platform, { CAPSTAN_LIVE_HEARTBEAT_MS: "1000", CAPSTAN_LIVE_MAX_SUBSCRIPTIONS: "5" });
const api = (path: string) => `${gateway().url}/api/v1/${path}`;

const retried = sh(`[ "$CAPSTAN_ATTEMPT" = 2 ] || exit 1; sleep 0.2`, {
  retry: { maxAttempts: 2, initialBackoff: seconds(0.2), jitter: 0 },
});
const numbers = (last: number, first = 1) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

test("the events of a job come one by one as CloudEvents, the stream ends with the job, and is not asked for again", async () => {
  const { capstan } = platform();
  const job = await submit(capstan, retried);
  const stream = await openSse(api(`jobs/${job.id}/events:watch`));
  expect(stream.status).toBe(200);
  expect(stream.headers.get("cache-control")).toBe("no-cache, no-transform");
  await stream.ended;
  expect(eventsOf(stream).map(shortTypeOf)).toEqual([
    "job.submitted",
    "job.started",
    "step.backed_off",
    "step.ready",
    "step.started",
    "job.succeeded",
  ]);
  const log = await listEvents(capstan, job.id);
  const told = eventsOf(stream).map(({ id, type, sequence, time, data }) => ({ id, type, sequence, time, data }));
  expect(told).toEqual(log.map((event) => ({ ...event, time: event.time?.toISOString() })));
  expect(stream.messages.map(({ id }) => Number(id))).toEqual(numbers(6));
  expect(stream.retryMs).toBeGreaterThanOrEqual(1_000);
  expect(eventsOf(stream)[0]).toMatchObject({ specversion: "1.0", subject: job.id, correlationid: job.id });
  const again = await openSse(api(`jobs/${job.id}/events:watch`), { "last-event-id": "6" });
  expect(again.status).toBe(204);
});

test("whoever was away goes on after the last event it saw, from wherever", async () => {
  const { capstan } = platform();
  const job = await run(capstan, retried);
  for (const last of numbers(5)) {
    const stream = await openSse(api(`jobs/${job.id}/events:watch`), { "last-event-id": String(last) });
    await stream.ended;
    expect(eventsOf(stream).map(({ sequence }) => sequence)).toEqual(numbers(6, last + 1));
  }
  const newest = await openSse(api(`jobs/${job.id}/events:watch?replay=2`));
  await newest.ended;
  expect(eventsOf(newest).map(({ sequence }) => sequence)).toEqual([5, 6]);
  const ends = await openSse(api(`jobs/${job.id}/events:watch?types=job.*&states=SUCCEEDED`));
  await ends.ended;
  expect(eventsOf(ends).map(shortTypeOf)).toEqual(["job.succeeded"]);
});

test("whoever wanted only some events of a job, or none that were, is not sent back for the rest", async () => {
  const { capstan } = platform();
  const job = await run(capstan, retried);
  const path = api(`jobs/${job.id}/events:watch?types=step.started`);
  const steps = await openSse(path);
  await steps.ended;
  expect(eventsOf(steps).map(({ sequence }) => sequence)).toEqual([5]);
  expect(steps.lastEventId).toBe("6");
  expect((await openSse(path, { "last-event-id": steps.lastEventId })).status).toBe(204);
  expect((await openSse(api(`jobs/${job.id}/events:watch?replay=0`))).status).toBe(204);
});

test("the events of all jobs come as they happen, by filters, and after the place where one stood", async () => {
  const { capstan } = platform();
  const all = await openSse(api("jobs:watch"));
  const red = await openSse(
    api("jobs:watch?labels.team=red&types=job.succeeded,job.failed&client=a%20test&metadata.page=jobs"),
  );
  await eventually(() => expect([all.lastEventId, red.lastEventId]).not.toContain(""));
  const [one, other] = await Promise.all([
    run(capstan, sh("exit 0"), { labels: { team: "red" } }),
    run(capstan, sh("exit 1"), { labels: { team: "blue" } }),
  ]);
  await eventually(() => {
    const ends = eventsOf(all).filter((event) => ["job.succeeded", "job.failed"].includes(shortTypeOf(event)));
    expect(ends.map(({ subject }) => subject).sort()).toEqual([one.id, other.id].sort());
  });
  await eventually(() => expect(eventsOf(red).map(({ subject }) => subject)).toEqual([one.id]));
  for (const { id } of [one, other]) {
    const own = eventsOf(all).filter(({ subject }) => subject === id);
    expect(own.map(({ sequence }) => sequence)).toEqual(numbers(own.length));
  }
  const sessions = await (await fetch(api("sessions?filter=client%3D%22a%20test%22"))).json();
  expect(sessions).toMatchObject({
    sessions: [
      {
        kind: "SESSION_KIND_SSE",
        state: "SESSION_STATE_ACTIVE",
        metadata: { page: "jobs" },
        path: "/api/v1/jobs:watch",
      },
    ],
  });
  const third = all.messages[2];
  const rest = all.messages.slice(3);
  all.close();
  red.close();
  const again = await openSse(api("jobs:watch"), { "last-event-id": third?.id ?? "" });
  await eventually(() => expect(again.messages).toEqual(rest));
  const replayed = await openSse(api("jobs:watch?replay=1&states=FAILED"));
  await eventually(() => expect(eventsOf(replayed).map(({ subject }) => subject)).toEqual([other.id]));
  again.close();
  replayed.close();
});

test("a log comes as it is written, goes on after a chunk, and ends when it is sealed", async () => {
  const { capstan } = platform();
  const job = await submit(
    capstan,
    sh("for i in 1 2 3; do echo line $i ✓; sleep 0.3; done; printf '\\377\\376'; echo err >&2"),
  );
  const executionId = await untilPlaced(capstan, job);
  const stream = await openSse(api(`executions/${executionId}/logs:tail`));
  await stream.ended;
  const parts = stream.messages.map(({ data }) => JSON.parse(data));
  const bytes = (name: string) =>
    Buffer.concat(
      parts
        .filter((part) => part.stream === name)
        .map(({ text, data }) => (text === undefined ? Buffer.from(data, "base64") : Buffer.from(text))),
    );
  expect(bytes("stdout")).toEqual(
    Buffer.concat([Buffer.from("line 1 ✓\nline 2 ✓\nline 3 ✓\n"), Buffer.from([0xff, 0xfe])]),
  );
  expect(bytes("stderr").toString()).toBe("err\n");
  expect(parts.at(-1)).toMatchObject({ type: "log.sealed", executionId, summary: { isSealed: true } });
  expect(stream.lastEventId).toBe("end");
  const after = await openSse(api(`executions/${executionId}/logs:tail?afterSequence=1`));
  await after.ended;
  expect(after.messages).toEqual(stream.messages.slice(1));
  expect((await openSse(api(`executions/${executionId}/logs:tail`), { "last-event-id": "end" })).status).toBe(204);
});

test("a socket is welcomed with its limits, and tells a job, its log, all jobs and all contexts", async () => {
  const { capstan } = platform();
  const client = await openSocket(api("live?client=tester"));
  const welcome = await client.next({ type: "welcome" });
  expect(welcome).toMatchObject({
    heartbeatMs: 1_000,
    limits: { maxSubscriptions: 5, maxMessageBytes: 16_384, maxReplay: 1_000 },
  });
  client.say({ type: "subscribe", id: "events", topic: "events", filter: { types: ["*.succeeded"] } });
  client.say({ type: "subscribe", id: "jobs", topic: "jobs", filter: { queue: "default", labels: { team: "green" } } });
  await client.next({ type: "subscribed", id: "events" });
  await client.next({ type: "subscribed", id: "jobs" });
  const job = await submit(capstan, sh("echo hello"), { labels: { team: "green" } });
  client.say({ type: "subscribe", id: "one", topic: "job", filter: { jobId: job.id }, afterSequence: 0 });
  expect(await client.next({ type: "unsubscribed", id: "one" })).toMatchObject({ reason: "ENDED" });
  const log = await listEvents(capstan, job.id);
  expect(client.events("one").map(({ id }) => id)).toEqual(log.map(({ id }) => id));
  await eventually(() => expect(client.events("jobs")).toEqual(client.events("one")));
  // The job of the test before may end late.
  const ownEnds = () => client.events("events").filter(({ correlationid }) => correlationid === job.id);
  await eventually(() => expect(ownEnds().map(shortTypeOf).sort()).toEqual(["execution.succeeded", "job.succeeded"]));
  const executionId = ownEnds().find((event) => shortTypeOf(event) === "execution.succeeded")?.subject;
  client.say({ type: "subscribe", id: "log", topic: "logs", filter: { executionId } });
  await client.next({ type: "unsubscribed", id: "log" });
  expect(client.events("log")).toMatchObject([{ type: "log.chunk", text: "hello\n" }, { type: "log.sealed" }]);

  client.say({
    type: "subscribe",
    id: "past",
    topic: "events",
    filter: { jobId: job.id, types: ["*.succeeded"] },
    replay: 10,
  });
  await eventually(() =>
    expect(client.events("past").map(shortTypeOf)).toEqual(["execution.succeeded", "job.succeeded"]),
  );
  client.say({ type: "unsubscribe", id: "jobs" });
  await client.next({ type: "unsubscribed", id: "jobs" });
  client.say({ type: "ping" });
  await client.next({ type: "pong" });
  await client.next({ type: "heartbeat" });
  const { sessionId } = welcome;
  await eventually(async () =>
    expect(await (await fetch(api(`sessions/${sessionId}`))).json()).toMatchObject({
      session: { kind: "SESSION_KIND_WEBSOCKET", client: "tester", subscriptions: 2, receivedMessages: "7" },
    }),
  );
  client.close();
  await eventually(async () =>
    expect(await (await fetch(api(`sessions/${sessionId}`))).json()).toMatchObject({
      session: { state: "SESSION_STATE_ENDED", reason: "SESSION_REASON_CLIENT_LEFT", droppedEvents: "0" },
    }),
  );
});

test("what a socket says wrong is refused with every field and limit, and it goes on", async () => {
  const client = await openSocket(api("live"));
  client.say({ type: "subscribe", id: "a b", topic: "job", filter: { states: ["DONE"], nonsense: 1 }, replay: 1_001 });
  expect(await client.next({ type: "error", reason: "INVALID_FIELDS" })).toMatchObject({
    errors: [
      { field: "id", message: expect.stringContaining("1 to 64 characters") },
      { field: "filter.states.0", message: expect.stringContaining("must be one of: PENDING") },
      { field: "filter.nonsense", message: "is unknown" },
      { field: "replay", message: "must be a whole number from 0 to 1000" },
    ],
  });
  client.say({ type: "subscribe", id: "no-job", topic: "job" });
  expect(await client.next({ type: "error", id: "no-job" })).toMatchObject({
    errors: [{ field: "filter.jobId", message: "is required for the topic job" }],
  });
  const unknown = "00000000-0000-7000-8000-000000000000";
  client.say({ type: "subscribe", id: "gone", topic: "job", filter: { jobId: unknown } });
  expect(await client.next({ type: "error", id: "gone" })).toMatchObject({ reason: "JOB_NOT_FOUND" });
  client.say({ type: "subscribe", id: "no-log", topic: "logs", filter: { executionId: unknown } });
  expect(await client.next({ type: "error", id: "no-log" })).toMatchObject({ reason: "EXECUTION_NOT_FOUND" });
  client.say("no json");
  await client.next({ type: "error", reason: "MESSAGE_NOT_JSON" });
  client.say(`"${"x".repeat(16_383)}"`);
  expect(await client.next({ type: "error", reason: "MESSAGE_TOO_LARGE" })).toMatchObject({
    message: "message: has 16385 bytes; at most 16384",
  });
  for (const number of numbers(6)) client.say({ type: "subscribe", id: `s${number}`, topic: "jobs" });
  expect(await client.next({ type: "error", reason: "TOO_MANY_SUBSCRIPTIONS" })).toMatchObject({
    id: "s6",
    message: "this session has 5 subscriptions, which is its limit (CAPSTAN_LIVE_MAX_SUBSCRIPTIONS)",
  });
  client.say({ type: "unsubscribe", id: "s6" });
  await client.next({ type: "error", reason: "SUBSCRIPTION_NOT_FOUND" });
  client.say({ type: "subscribe", id: "s1", topic: "jobs" });
  await client.next({ type: "error", reason: "ALREADY_SUBSCRIBED" });
  for (const _ of numbers(600)) client.say({ type: "ping" });
  expect(await client.closed).toMatchObject({ code: 1008, reason: "more than 50 messages a second" });
  const large = await openSocket(api("live"));
  large.say("x".repeat(70_000));
  expect((await large.closed).code).toBe(1009);
});

test("the examples of docs/live.md do what they say", async () => {
  const page = readFileSync(new URL("../../docs/live.md", import.meta.url), "utf8");
  const example = (language: string) => new RegExp(`\\n\`\`\`${language}\\n(.*?)\\n\`\`\``, "s").exec(page)?.[1] ?? "";
  const env = { PATH: process.env["PATH"], CAPSTAN: gateway().url };
  const options = { env, timeout: 30_000 };
  const shell = await execute("sh", ["-c", example("sh")], options);
  expect(shell.stdout).toMatch(
    /^retry: \d+\n\nid: 1\ndata: .*"type":"capstan.job.v1.job.submitted".*\n\nid: 2\n.*job.succeeded/s,
  );
  const program = await execute(process.execPath, ["--input-type=module", "-e", example("js")], options);
  expect(program.stdout).toBe("capstan.job.v1.job.succeeded hello\n");
});

test("streams are refused as any request is: all bad parameters at once, what is not there, and foreign pages", async () => {
  const bad = await openSse(api("jobs:watch?states=DONE&replay=5000&types=x&page=1&labels.A%20B=1"));
  expect(bad.status).toBe(400);
  expect(bad.body).toMatchObject({ reason: "INVALID_FIELDS" });
  const fields = (bad.body as { errors: { field: string }[] }).errors.map(({ field }) => field);
  expect(fields.sort()).toEqual(["labels.A B", "page", "states.0", "types.0"]);
  expect((await openSse(api("jobs:watch?replay=5000"))).body).toMatchObject({
    errors: [{ field: "replay", message: "must be a whole number from 0 to 1000" }],
  });
  expect((await openSse(api("jobs:watch"), { "last-event-id": "7" })).status).toBe(400);
  const unknown = "00000000-0000-7000-8000-000000000000";
  expect((await openSse(api(`jobs/${unknown}/events:watch`))).body).toMatchObject({
    status: 404,
    reason: "JOB_NOT_FOUND",
  });
  expect((await openSse(api("jobs/no-id/events:watch"))).body).toMatchObject({ status: 404, reason: "JOB_NOT_FOUND" });
  expect((await openSse(api(`executions/${unknown}/logs:tail`))).body).toMatchObject({ status: 404 });
  await expect(openSocket(api("live"), { origin: "https://evil.example" })).rejects.toThrow("status 403");
  await expect(openSocket(api("live"), { host: "evil.example" })).rejects.toThrow("status 421");
  await expect(openSocket(api("live?nonsense=1"))).rejects.toThrow("status 400");
  expect((await fetch(api("live"))).status).toBe(426);
});

test("a slow stream of all jobs loses nothing, and a slow socket is told how much it was not told, and of one job all", async () => {
  const { capstan } = platform();
  const submitted = "types=job.submitted";
  const slow = await openSse(api(`jobs:watch?${submitted}`));
  await eventually(() => expect(slow.lastEventId).not.toBe(""));
  slow.pause();
  const job = await submit(capstan, sh("sleep 1"));
  const client = await openSocket(api("live"));
  const { sessionId } = await client.next({ type: "welcome" });
  client.say({ type: "subscribe", id: "jobs", topic: "jobs", filter: { types: ["job.submitted"] } });
  client.say({ type: "subscribe", id: "job", topic: "job", filter: { jobId: job.id }, afterSequence: 0 });
  await eventually(() => expect(client.messages.filter(({ type }) => type === "subscribed")).toHaveLength(2));
  client.socket.pause();
  // It reads nothing, and is there.
  const talking = setInterval(() => client.say({ type: "ping" }), 300);
  // More than the sockets of both sides hold. No worker has the handler, and the facts have the whole input.
  const step = { handler: "nobody", input: "x".repeat(120_000) };
  const requests = numbers(150).map((number) => requestOf(step, { name: `large-${number}` }));
  const ids: string[] = [];
  for (const from of [0, 30, 60, 90, 120]) {
    const { results } = await capstan.jobs.submitJobs({ requests: requests.slice(from, from + 30) });
    ids.push(...results.flatMap(({ outcome }) => (outcome?.$case === "accepted" ? [outcome.value.jobId] : [])));
  }
  expect(ids).toHaveLength(150);
  await untilEnded(capstan, job);
  const session = async () =>
    (await (await fetch(api(`sessions/${sessionId}`))).json()) as { session: { droppedEvents: string } };
  await eventually(async () => expect(Number((await session()).session.droppedEvents)).toBeGreaterThan(0));
  clearInterval(talking);
  client.socket.resume();
  slow.read();
  await eventually(() => expect(eventsOf(slow).map(({ subject }) => subject)).toEqual([job.id, ...ids]), 30_000);
  await client.next({ type: "unsubscribed", id: "job" });
  const log = await listEvents(capstan, job.id);
  expect(client.events("job").map(({ id }) => id)).toEqual(log.map(({ id }) => id));
  const dropped = client.messages.flatMap(({ type, id, count }) =>
    type === "dropped" && id === "jobs" ? [Number(count)] : [],
  );
  // The job of its own was accepted before, and its fact may have come after.
  const told = client.events("jobs").filter(({ subject }) => subject !== job.id);
  expect(told.length + dropped.reduce((sum, count) => sum + count, 0)).toBe(150);
  slow.close();
  client.close();
  await Promise.all(ids.map((jobId) => capstan.jobs.cancelJob({ jobId, message: "" })));
});
