/** One platform for all tests of a spec file. */
import { afterAll, beforeAll } from "vitest";
import { expectNoViolations } from "./invariants.ts";
import { type Platform, type PlatformOptions, startPlatform } from "./startPlatform.ts";

/**
 * Call it once at the top of a spec file; what it gives back answers with the platform inside of tests. After the last test the
 * platform must come to rest, break no invariant, stop in order and leave nothing behind.
 */
export function usePlatform(options: PlatformOptions = {}): () => Platform {
  let platform: Platform | null = null;
  beforeAll(async () => {
    platform = await startPlatform(options);
  });
  afterAll(async () => {
    if (platform === null) return;
    try {
      await expectNoViolations(platform);
    } finally {
      await platform.stop();
    }
  });
  return () => {
    if (platform === null) throw new Error("the platform is there only inside of tests");
    return platform;
  };
}
