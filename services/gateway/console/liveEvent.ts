/** A CloudEvent as the gateway sends it. */
export interface LiveEvent {
  readonly id: string;
  readonly type: string;
  readonly subject?: string;
  readonly time?: string;
  readonly sequence?: string | number;
  readonly correlationid?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}
