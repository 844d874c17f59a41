/** Ports for servers that are stopped and started again on the same one. */
import { readFile } from "node:fs/promises";
import { claimPort } from "../../services/standalone/src/loopbackPort.ts";

/**
 * A port that is free now and that no outgoing connection will take while its server is down: one below the range from which the
 * kernel gives those.
 */
export async function findFreePort(): Promise<number> {
  const range = await readFile("/proc/sys/net/ipv4/ip_local_port_range", "utf8").catch(() => "32768");
  const [lowest = 32_768] = range.split(/\s+/).map(Number);
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * (lowest - 10_000));
    const isFree = await claimPort(port, "a test").then(
      () => true,
      () => false,
    );
    if (isFree) return port;
  }
}
