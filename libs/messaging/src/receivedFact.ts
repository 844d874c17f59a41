/** A fact as it arrives from a stream. It may arrive again, and later than a younger one: see `sequence`. */
export interface ReceivedFact {
  readonly id: string;
  readonly tenant: string;
  readonly context: string;
  readonly noun: string;
  readonly event: string;
  /** `capstan.<context>.v1.<noun>.<event>` */
  readonly type: string;
  readonly aggregateId: string;
  readonly sequence: number;
  readonly correlationId: string;
  readonly causationId: string;
  readonly traceparent: string | null;
  readonly time: Date;
  /** Parsed JSON, not yet checked against the event's message. */
  readonly data: unknown;
  readonly stream: string;
  readonly streamSequence: number;
  /** 1 for the first delivery. */
  readonly deliveries: number;
}
