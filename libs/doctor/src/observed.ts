/** What is seen of a platform beside its database. */

/** A fact as its stream has it; everything from its CloudEvents headers. */
export interface StreamedFact {
  readonly context: string;
  /** Its number in the stream. */
  readonly position: number;
  readonly id: string;
  readonly aggregateId: string;
  readonly sequence: number;
  readonly type: string;
}

/** A stream that is there. */
export interface StreamState {
  readonly context: string;
  /** Whatever happened since then must be on it, as far as it was read. */
  readonly knownSince: Date;
  /** It was read from the first message that it ever held. */
  readonly isWhole: boolean;
}

/** A durable consumer. */
export interface ConsumerState {
  /** `<stream>/<durable>` */
  readonly name: string;
  /** The last position it was given, and the last up to which all is acknowledged. */
  readonly delivered: number;
  readonly acknowledged: number;
  readonly lastPosition: number;
  readonly pending: number;
  readonly inHand: number;
}

export interface BrokerState {
  readonly facts: readonly StreamedFact[];
  readonly streams: readonly StreamState[];
  readonly consumers: readonly ConsumerState[];
}

/** A process or a container that belongs to an execution. */
export interface Workload {
  readonly executionId: string;
  /** `process <pid> <command>` or `container <name>`. */
  readonly ref: string;
}

/** What is absent was not looked at; what needs it is not examined then. */
export interface Observed {
  readonly broker?: BrokerState;
  readonly workloads?: readonly Workload[];
  /** Ids of the providers whose engines told all that they have. */
  readonly engines?: readonly string[];
  /** Ids of jobs whose submit was answered. */
  readonly acknowledged?: readonly string[];
}
