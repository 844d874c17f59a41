/** A small disk in memory that can be made full: a tmpfs that is shrunk to what it holds, and grown again. Needs root. */
import { execFile } from "node:child_process";
import { mkdir, statfs } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Disk {
  readonly directory: string;
  /** From now on nothing more can be written. */
  fill(): Promise<void>;
  free(): Promise<void>;
  /** Takes it away with all that is on it. */
  remove(): Promise<void>;
}

/** Throws, with the reason, where nothing may be mounted. */
export async function mountDisk(directory: string, sizeMib: number): Promise<Disk> {
  if (process.getuid?.() !== 0) throw new Error("only root can mount a small disk");
  await mkdir(directory, { recursive: true });
  const size = `size=${sizeMib}m`;
  await run("mount", ["-t", "tmpfs", "-o", `${size},mode=755`, "capstan-chaos", directory]);
  const resize = (to: string) => run("mount", ["-o", `remount,${to}`, directory]);

  async function fill(): Promise<void> {
    // What is written meanwhile makes the size too small, which the kernel refuses.
    for (let attempt = 0; ; attempt++) {
      const { blocks, bfree, bsize } = await statfs(directory);
      const failure = await resize(`size=${((blocks - bfree) * bsize) / 1024}k`).then(
        () => null,
        (error: unknown) => error,
      );
      if (failure === null) return;
      if (attempt === 20) throw failure;
    }
  }

  return {
    directory,
    fill,
    free: async () => void (await resize(size)),
    remove: async () => void (await run("umount", ["--lazy", directory])),
  };
}
