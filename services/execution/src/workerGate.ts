/** The start gate of an execution for workers: there is room when a worker takes it, and that worker is promised to it. */
import { wantedOf } from "./backends/worker.ts";
import type { Assignment } from "./execution.ts";
import { toHandlerCall } from "./executionProto.ts";
import type { StartGate } from "./startGate.ts";
import type { Workers } from "./workers.ts";

export function gateOfWorkers(assignment: Assignment, workers: Workers): StartGate {
  const { id, tenant } = assignment;
  const wanted = () => wantedOf({ tenant, handler: toHandlerCall(assignment) });
  return {
    tryEnter: () => workers.tryPromise(id, wanted()),
    enter: (signal) => workers.promise(id, wanted(), signal),
    leave: () => workers.breakPromise(id),
  };
}
