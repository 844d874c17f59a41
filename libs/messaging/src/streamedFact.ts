/** A fact as a stream holds it, of which nothing is read before somebody asks: most of those who look on want few of many. */
import type { JsMsg } from "@nats-io/jetstream";
import { readHeaders } from "./cloudEvent.ts";

/** Where a fact stands. A stream that was made anew counts from 1 again; the time of its creation tells it from the one before. */
export interface StreamPlace {
  /** Milliseconds since 1970. */
  readonly epoch: number;
  readonly sequence: number;
}

/** Its bytes stay those that came from the server. A class because there are many thousands of them. */
export class StreamedFact {
  readonly place: StreamPlace;
  readonly context: string;
  readonly noun: string;
  readonly event: string;
  readonly aggregateId: string;
  readonly tenant: string;
  readonly #message: JsMsg;
  #headers: ReadonlyMap<string, string> | null = null;

  /** `capstan.v1.<tenant>.<context>.<noun>.<event>.<aggregate id>` says all that most want to know. */
  constructor(message: JsMsg, epoch: number) {
    const [, , tenant = "", context = "", noun = "", event = "", aggregateId = ""] = message.subject.split(".");
    this.place = { epoch, sequence: message.seq };
    this.tenant = tenant;
    this.context = context;
    this.noun = noun;
    this.event = event;
    this.aggregateId = aggregateId;
    this.#message = message;
  }

  /** A `ce-` header without its prefix; "" for one that is not there. */
  attribute(name: string): string {
    this.#headers ??= readHeaders(this.#message);
    return this.#headers.get(`ce-${name}`) ?? "";
  }

  /** The data as text of JSON, as it was published. */
  get json(): string {
    const { buffer, byteOffset, byteLength } = this.#message.data;
    return Buffer.from(buffer, byteOffset, byteLength).toString();
  }

  /** Of the data. */
  get bytes(): number {
    return this.#message.data.byteLength;
  }
}
