/**
 * The bare limits of the machine, measured in the same run as the platform: what nothing built on them can exceed. Run as a
 * process of its own, because the cost of a spawn grows with the memory of its parent.
 */
import { spawn } from "node:child_process";
import Docker from "dockerode";

export interface BareResult {
  readonly perSecond: number;
  readonly cpuMsEach: number;
}

const [what = "", count = "0", concurrency = "1"] = process.argv.slice(2);

async function measure(total: number, lanes: number, one: () => Promise<void>): Promise<BareResult> {
  let left = total;
  const before = process.resourceUsage();
  const start = performance.now();
  const lane = async () => {
    while (left > 0) {
      left -= 1;
      await one();
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  const seconds = (performance.now() - start) / 1_000;
  const after = process.resourceUsage();
  const cpuMs = (after.userCPUTime + after.systemCPUTime - before.userCPUTime - before.systemCPUTime) / 1_000;
  return { perSecond: total / seconds, cpuMsEach: cpuMs / total };
}

function spawnTrue(): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn("/bin/true", { stdio: ["ignore", "pipe", "pipe"], detached: true, env: {} });
    child.stdout.resume();
    child.stderr.resume();
    child.on("error", reject);
    child.on("close", () => resolve());
  });
}

/** The container as the platform makes it, without the platform. */
async function runContainer(docker: Docker): Promise<void> {
  const container = await docker.createContainer({
    Image: "busybox",
    Cmd: ["true"],
    User: "65534:65534",
    HostConfig: { NetworkMode: "none", ReadonlyRootfs: true, CapDrop: ["ALL"], Init: true, Memory: 64 * 2 ** 20 },
  });
  await container.start();
  await container.wait();
  await container.remove();
}

const docker = new Docker();
const one = what === "container" ? () => runContainer(docker) : spawnTrue;
process.stdout.write(JSON.stringify(await measure(Number(count), Number(concurrency), one)));
