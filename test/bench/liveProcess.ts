/**
 * Live clients of the bench, in a process of their own: WebSockets that subscribe, and how long after its commit each event came. The
 * time of an event is that of the database, which is on the same machine.
 */
import { WebSocket } from "ws";
import { inLanes } from "./lanes.ts";
import type { LiveOrder, LiveReport } from "./live.ts";

const url = process.argv[2] ?? "";
let sockets: WebSocket[] = [];
let latencies: number[] = [];
let events = 0;
let dropped = 0;

const marker = '"time":"';
/** Reading each of a hundred thousand events a second would measure this process. */
const readEach = 16;

function onMessage(data: Buffer): void {
  const text = data.toString("latin1", 0, 400);
  if (!text.startsWith('{"type":"event"')) {
    if (text.startsWith('{"type":"dropped"')) dropped += (JSON.parse(data.toString()) as { count: number }).count;
    return;
  }
  events += 1;
  if (sockets.length <= 200 && events % readEach !== 0) return;
  const at = text.indexOf(marker) + marker.length;
  latencies.push(Date.now() - Date.parse(text.slice(at, at + 24)));
}

/** Resolves when its subscription has begun. */
function open(subscription: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    sockets.push(socket);
    socket.on("message", (data: Buffer) => {
      onMessage(data);
      if (data.toString("latin1", 0, 20) === '{"type":"subscribed"') resolve();
    });
    socket.once("open", () => socket.send(JSON.stringify({ type: "subscribe", id: "bench", ...subscription })));
    socket.once("error", reject);
  });
}

async function obey(order: LiveOrder): Promise<LiveReport> {
  if (order.do === "open") await inLanes(50, order.subscriptions, open);
  const report = { latencies, events, dropped };
  if (order.do === "close") {
    for (const socket of sockets) socket.terminate();
    sockets = [];
  }
  if (order.do === "reset" || order.do === "close") [latencies, events, dropped] = [[], 0, 0];
  return report;
}

process.on("message", (order: LiveOrder) => {
  if (order.do === "end") process.exit(0);
  obey(order).then(
    (report) => process.send?.(report),
    (error: unknown) => process.send?.({ failed: String(error) }),
  );
});
process.on("disconnect", () => process.exit());
process.send?.({ latencies: [], events: 0, dropped: 0 } satisfies LiveReport);
