/** A service for the specs of this lib, with JSON for messages; each test says how its two methods answer. */
import {
  type CallOptions,
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  type Metadata,
  makeGenericClientConstructor,
  type ServiceDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { onTestFinished } from "vitest";
import type { Call } from "./call.ts";
import { type ClientClass, connectTo, type PromiseClient } from "./client.ts";
import { type BidiStream, bidiStream, serverStream, unary } from "./handlers.ts";
import type { Log } from "./log.ts";
import { type GrpcServer, type ServeOptions, serve } from "./server.ts";

export interface Message {
  readonly text: string;
}

interface TestClient extends Client {
  say(
    request: Message,
    metadata: Metadata,
    options: Partial<CallOptions>,
    callback: (error: ServiceError | null, response: Message) => void,
  ): ClientUnaryCall;
  watch(request: Message, metadata?: Metadata, options?: Partial<CallOptions>): ClientReadableStream<Message>;
  talk(metadata: Metadata, options?: Partial<CallOptions>): ClientDuplexStream<Message, Message>;
}

const encode = (message: Message) => Buffer.from(JSON.stringify(message));
const decode = (bytes: Buffer) => JSON.parse(bytes.toString()) as Message;
const json = {
  requestSerialize: encode,
  requestDeserialize: decode,
  responseSerialize: encode,
  responseDeserialize: decode,
};

export const testDefinition = {
  say: { path: "/test.v1.TestService/Say", requestStream: false, responseStream: false, ...json },
  watch: { path: "/test.v1.TestService/Watch", requestStream: false, responseStream: true, ...json },
  talk: { path: "/test.v1.TestService/Talk", requestStream: true, responseStream: true, ...json },
} satisfies ServiceDefinition;

export const TestServiceClient = makeGenericClientConstructor(
  testDefinition,
  "TestService",
) as unknown as ClientClass<TestClient>;

interface Answers {
  say?(request: Message, call: Call): Promise<Message>;
  watch?(request: Message, call: Call): AsyncIterable<Message>;
  talk?(stream: BidiStream<Message, Message>, call: Call): Promise<void>;
}

interface Served {
  readonly server: GrpcServer;
  readonly client: PromiseClient<TestClient>;
  readonly logged: readonly { readonly level: string; readonly fields: object; readonly message: string }[];
}

/** Serves the answers on a free port until the test ends. */
export async function serveTest(answers: Answers, options: Partial<ServeOptions> = {}): Promise<Served> {
  const logged: { level: string; fields: object; message: string }[] = [];
  const at = (level: string) => (fields: object, message: string) => void logged.push({ level, fields, message });
  const log: Log = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  const implementation = {
    say: unary(answers.say ?? (async (request) => request)),
    watch: serverStream(
      answers.watch ??
        async function* (request) {
          yield request;
        },
    ),
    talk: bidiStream(
      answers.talk ??
        (async ({ requests, send }) => {
          for await (const request of requests) send(request);
        }),
    ),
  };
  const services = [{ definition: testDefinition, implementation }];
  const server = await serve({ address: "127.0.0.1:0", services, health: () => true, log, ...options });
  const client = connectTo(TestServiceClient, `127.0.0.1:${server.port}`);
  onTestFinished(() => {
    client.close();
    return server.stop();
  });
  return { server, client, logged };
}
