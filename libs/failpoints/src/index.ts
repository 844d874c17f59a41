/** Named places where a test makes this process fail; nothing of it exists in a process that was not started for such a test. */

export type { FailpointMode, Failpoints, PointName } from "./failpoint.ts";
export { failpoints, refusedFailpoints } from "./failpoints.ts";
