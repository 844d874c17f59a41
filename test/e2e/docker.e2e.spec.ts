/** A platform team runs containers: limited, hardened, taken over when the runner dies, and never left behind. */
import { describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { getJob, readLog, run, seconds, sh, stepOf, submit, untilEnded, untilPlaced } from "../support/jobs.ts";
import { usePlatform } from "../support/usePlatform.ts";
import { image, whyNoContainers } from "../support/workloads.ts";

const reason = await whyNoContainers();
if (reason !== null) console.log(`containers are not tried: ${reason}`);

describe.skipIf(reason !== null)("containers", () => {
  const platform = usePlatform();
  const inImage = (line: string, more = {}) => sh(line, { image, ...more });

  test("a container runs with its limits, as nobody, without a network, on a root that is read-only", async () => {
    const { capstan } = platform();
    const look = `cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes
      id -u; ls /sys/class/net; touch /x 2>/dev/null || echo read-only; echo 'CAPSTAN_OUTPUT={"ok":true}'`;
    const job = await run(capstan, inImage(look, { resources: { memoryMib: 64, cpuMillis: 500 } }));
    expect(job).toMatchObject({
      state: "JOB_STATE_SUCCEEDED",
      result: { ok: true },
      steps: [{ providerName: "docker" }],
    });
    const { stdout } = await readLog(capstan, stepOf(job).executionId);
    expect(stdout.split("\n").slice(0, 4)).toEqual([String(64 * 1024 * 1024), "65534", "lo", "read-only"]);
  });

  test("what a container writes is told apart and in full, and its exit code is the job's", async () => {
    const { capstan } = platform();
    const job = await run(
      capstan,
      inImage("echo out; echo err >&2; read line; echo $line; exit 3", { stdin: Buffer.from("in\n") }),
    );
    expect(job).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_EXIT_CODE", steps: [{ exitCode: 3 }] });
    expect(await readLog(capstan, stepOf(job).executionId)).toMatchObject({ stdout: "out\nin\n", stderr: "err\n" });
  });

  test("an image that there is not is the reason of the failure, with its name", async () => {
    const name = "capstan-test/no-such-image:none";
    const job = await submit(platform().capstan, { image: name, command: ["true"] });
    const ended = await eventually(async () => {
      const now = await getJob(platform().capstan, job.id);
      expect(now.endTime).toBeDefined();
      return now;
    }, 60_000);
    expect(ended.state).toBe("JOB_STATE_FAILED");
    expect(["REASON_IMAGE_NOT_FOUND", "REASON_IMAGE_PULL_FAILED"]).toContain(ended.reason);
    expect(ended.message).toContain(name);
  }, 90_000);

  test("a command that is not in the image is the reason of the failure, with its name", async () => {
    const job = await run(platform().capstan, { image, command: ["no-such-program"] });
    expect(job).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_COMMAND_NOT_FOUND" });
    expect(job.message).toContain("no-such-program");
  });

  test("a container that takes more memory than it may is ended for that reason", async () => {
    const hog = inImage("head -c 100000000 /dev/zero | tail", { resources: { memoryMib: 16 } });
    const job = await run(platform().capstan, hog);
    expect(job).toMatchObject({ state: "JOB_STATE_FAILED", reason: "REASON_OUT_OF_MEMORY" });
    expect(job.message).toContain("16 MiB");
  });

  test("a container is asked to end, then killed after its grace", async () => {
    const { capstan } = platform();
    const job = await submit(capstan, inImage("trap '' TERM; echo on; sleep 3600", { stopGrace: seconds(0.5) }));
    await untilPlaced(capstan, job);
    await capstan.jobs.cancelJob({ jobId: job.id, message: "" });
    expect(await untilEnded(capstan, job)).toMatchObject({ state: "JOB_STATE_CANCELLED" });
  });

  test("containers outlive their runner: they are taken over, their logs go on, and each ends once", async () => {
    const { capstan, services } = platform();
    const jobs = await Promise.all(
      [0, 1, 2].map((code) => submit(capstan, inImage(`echo begin; sleep 3; echo end; exit ${code}`))),
    );
    const executionIds = await Promise.all(jobs.map((job) => untilPlaced(capstan, job)));
    await services.execution.restart("SIGKILL");
    for (const [code, job] of jobs.entries()) {
      const ended = await untilEnded(capstan, job);
      expect(ended.state).toBe(code === 0 ? "JOB_STATE_SUCCEEDED" : "JOB_STATE_FAILED");
      expect(stepOf(ended)).toMatchObject({ attempt: 1, exitCode: code, executionId: executionIds[code] });
      const log = await readLog(capstan, executionIds[code] ?? "");
      expect(log).toMatchObject({ stdout: "begin\nend\n", summary: { isSealed: true, hasGap: false } });
      const { execution } = await capstan.executions.getExecution({ executionId: executionIds[code] ?? "" });
      expect(execution?.fence).toBe(2);
    }
  });

  test("a container that ended while no runner was there is told of as it ended", async () => {
    const { capstan, services, engine } = platform();
    const job = await submit(capstan, inImage("sleep 1; echo 'CAPSTAN_OUTPUT=42'; exit 0"));
    const executionId = await untilPlaced(capstan, job);
    await services.execution.kill("SIGKILL");
    await eventually(async () => {
      const { State } = (await engine?.getContainer(`capstan-${executionId}`).inspect()) ?? {};
      expect(State?.Running).toBe(false);
    });
    await services.execution.start();
    expect(await untilEnded(capstan, job)).toMatchObject({ state: "JOB_STATE_SUCCEEDED", result: 42 });
  });

  test("the runner is killed while a queue of containers starts: what was in between is lost and repeated, the rest runs once", async () => {
    const { capstan, services } = platform();
    const once = inImage("echo one", { retry: { maxAttempts: 2, initialBackoff: seconds(0.1) } });
    const jobs = await Promise.all(Array.from({ length: 12 }, () => submit(capstan, once)));
    await eventually(async () => {
      expect((await getJob(capstan, jobs[0]?.id ?? "")).startTime).toBeDefined();
    });
    await services.execution.restart("SIGKILL");
    for (const job of jobs) {
      const ended = await untilEnded(capstan, job);
      expect(ended.state).toBe("JOB_STATE_SUCCEEDED");
      expect((await readLog(capstan, stepOf(ended).executionId)).stdout).toBe("one\n");
    }
  }, 90_000);
});
