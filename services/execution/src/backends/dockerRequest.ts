/**
 * What a container may be: built here field by field from an allow-list, never merged with anything a user sent.
 *
 * No root, no capabilities, no way to gain any, nothing writable but a small /tmp, bounded processes, memory and cores, no
 * network unless asked for, nothing of the host mounted.
 */

import type { ContainerCreateOptions } from "dockerode";
import { StartRefused, type Workload, workloadEnvironment } from "./backend.ts";

const MIB = 1024 * 1024;
const DEFAULT_CPU_MILLIS = 1_000;
const DEFAULT_MEMORY_MIB = 512;
/** The kernel's bound on one argument, with its closing zero. */
const MAX_ARGUMENT_BYTES = 128 * 1024 - 1;

/** Labels that tell our containers from all others, and one installation's from another's on the same engine. */
export const EXECUTION_LABEL = "dev.capstan.execution-id";
export const INSTALLATION_LABEL = "dev.capstan.installation";

/** The engine's request for a workload. Throws {@link StartRefused} for what no engine could start. */
export function containerRequest(workload: Workload, installation: string): ContainerCreateOptions {
  const argv = argvOf(workload);
  return {
    Image: imageOf(workload),
    ...(argv.length === 0 ? {} : { Entrypoint: argv, Cmd: [] }),
    Env: Object.entries(workloadEnvironment(workload, { HOME: "/tmp" })).map(([name, value]) => `${name}=${value}`),
    ...(workload.workingDirectory === null ? {} : { WorkingDir: workload.workingDirectory }),
    User: "65534:65534", // with the group: without, it would be root's
    AttachStdin: workload.stdin !== null,
    OpenStdin: workload.stdin !== null,
    StdinOnce: workload.stdin !== null,
    Tty: false,
    Healthcheck: { Test: ["NONE"] },
    Labels: {
      [EXECUTION_LABEL]: workload.executionId,
      [INSTALLATION_LABEL]: installation,
      "dev.capstan.job-id": workload.jobId,
      "dev.capstan.attempt": String(workload.attempt),
      "dev.capstan.tenant": workload.tenant,
      "dev.capstan.fence": String(workload.fence),
    },
    HostConfig: {
      NetworkMode: workload.network === "BRIDGE" ? "bridge" : "none",
      ...limits(workload),
      Privileged: false,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      ReadonlyRootfs: true,
      // Ours, because where the image has a /tmp the engine takes over its mode.
      Tmpfs: { "/tmp": "rw,noexec,nosuid,nodev,size=64m,mode=1777,uid=65534,gid=65534" },
      ShmSize: 16 * MIB,
      IpcMode: "private",
      Init: true,
      AutoRemove: false, // the exit is read first
      RestartPolicy: { Name: "no" },
      // Keeps bytes as they are, unlike json-file. It is read only to go on after a broken connection.
      LogConfig: { Type: "local", Config: { "max-size": "32m", "max-file": "2", compress: "false" } },
    },
  };
}

function limits({ cpuMillis, memoryMib }: Workload) {
  const memory = (memoryMib || DEFAULT_MEMORY_MIB) * MIB;
  return {
    NanoCpus: (cpuMillis || DEFAULT_CPU_MILLIS) * 1_000_000,
    Memory: memory,
    MemorySwap: memory, // equal means no swap
    PidsLimit: 256,
    Ulimits: [
      { Name: "nofile", Soft: 4_096, Hard: 4_096 },
      { Name: "core", Soft: 0, Hard: 0 },
    ],
  };
}

function imageOf({ image }: Workload): string {
  if (image === null || image === "") throw new StartRefused("IMAGE_NOT_FOUND", "a container needs an image");
  return image;
}

function argvOf({ command, script }: Workload): string[] {
  const argv = script === null ? [...command] : scriptArgv(script.interpreter, script.content, command);
  const longest = Math.max(0, ...argv.map((argument) => Buffer.byteLength(argument)));
  if (longest > MAX_ARGUMENT_BYTES) {
    throw new StartRefused(
      "START_FAILED",
      `a script or argument in a container has at most ${MAX_ARGUMENT_BYTES} bytes`,
    );
  }
  return argv;
}

/** A script becomes an argument, since nothing is mounted. Interpreters differ in its name, shells take $0 before $1. */
function scriptArgv(interpreter: readonly string[], content: string, args: readonly string[]): string[] {
  const [program = "/bin/sh", ...options] = interpreter;
  const name = program.slice(program.lastIndexOf("/") + 1).replace(/[\d.]+$/, "");
  if (/^(ba|da|a|z|k)?sh$/.test(name)) return [program, ...options, "-c", content, "script", ...args];
  if (name === "php") return [program, ...options, "-r", content, "--", ...args];
  const flag = ["node", "perl", "ruby", "lua"].includes(name) ? "-e" : "-c";
  return [program, ...options, flag, content, ...args];
}
