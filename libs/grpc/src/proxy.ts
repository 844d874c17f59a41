/**
 * A service whose calls go on to another server as they come: bytes, metadata and deadline there, bytes, metadata and status back. A
 * slow reader slows the sender on the other side, and a call that is given up on one side ends on both.
 */
import type {
  ClientReadableStream,
  Metadata,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceError,
  sendUnaryData,
  UntypedHandleCall,
} from "@grpc/grpc-js";
import { context, propagation } from "@opentelemetry/api";
import { serverStopping, stoppingEvent } from "./call.ts";
import type { RawClient } from "./rawClient.ts";
import type { ServiceRegistration } from "./registration.ts";
import { type StatusReply, toStatus } from "./status.ts";

interface ProxiedMethod {
  readonly name: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

const same = (bytes: Buffer) => bytes;

/** `service` by its full name; a method with a stream of requests has one of answers too. */
export function proxyService(
  service: string,
  methods: readonly ProxiedMethod[],
  target: RawClient,
): ServiceRegistration {
  const definition = methods.map(({ name, requestStream, responseStream }) => [
    name,
    {
      path: `/${service}/${name}`,
      requestStream,
      responseStream,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    },
  ]);
  const implementation = methods.map((method) => [
    method.name,
    handlerOf(`/${service}/${method.name}`, method, target),
  ]);
  return { definition: Object.fromEntries(definition), implementation: Object.fromEntries(implementation) };
}

function handlerOf(path: string, method: ProxiedMethod, target: RawClient): UntypedHandleCall {
  if (method.requestStream) {
    return (call: ServerDuplexStream<Buffer, Buffer>) => {
      const onward = target.duplex(path, passOn(call.metadata), call.getDeadline());
      call.on("data", (bytes: Buffer) => {
        if (onward.write(bytes)) return;
        call.pause();
        onward.once("drain", () => call.resume());
      });
      call.on("end", () => onward.end());
      passBack(call, onward, target);
    };
  }
  if (method.responseStream) {
    return (call: ServerWritableStream<Buffer, Buffer>) =>
      passBack(call, target.stream(path, call.request, passOn(call.metadata), call.getDeadline()), target);
  }
  return (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
    let answer: Buffer = Buffer.alloc(0);
    const onward = target.unary(path, call.request, passOn(call.metadata), call.getDeadline(), (error, bytes) => {
      if (error === null) answer = bytes ?? answer;
      else reply(statusOf(error, target));
    });
    onward.on("metadata", (metadata: Metadata) => call.sendMetadata(metadata));
    // After the answer, and with the trailers that belong to it.
    onward.on("status", ({ code, metadata }: StatusReply) => {
      if (code === 0) reply(null, answer, metadata);
    });
    call.on("cancelled", () => onward.cancel());
  };
}

type StreamCall = ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>;

function passBack(call: StreamCall, onward: ClientReadableStream<Buffer>, target: RawClient): void {
  let status: StatusReply | undefined;
  let hasEnded = false;
  // A status may arrive while answers that came before it still wait to be read.
  const finish = () => {
    if (hasEnded || status === undefined || !onward.readableEnded) return;
    end(status);
  };
  const end = (last: StatusReply) => {
    if (hasEnded) return;
    hasEnded = true;
    if (last.code === 0) call.end(last.metadata);
    else call.emit("error", last);
  };
  onward.on("metadata", (metadata: Metadata) => call.sendMetadata(metadata));
  onward.on("data", (bytes: Buffer) => {
    if (call.write(bytes)) return;
    onward.pause();
    call.once("drain", () => onward.resume());
  });
  onward.on("error", (error: ServiceError) => {
    status = statusOf(error, target);
  });
  onward.on("status", (received: StatusReply) => {
    status ??= received;
    finish();
  });
  onward.on("end", finish);
  call.on("cancelled", () => onward.cancel());
  call.once(stoppingEvent, () => {
    end(toStatus(serverStopping));
    onward.cancel();
  });
}

function statusOf(error: ServiceError, target: RawClient): StatusReply {
  return toStatus(target.refusalOf(error));
}

/** All that the caller said but what is about its own connection; the trace goes on from here where one is recorded. */
function passOn(metadata: Metadata): Metadata {
  const onward = metadata.clone();
  onward.remove("user-agent");
  propagation.inject(context.active(), onward, { set: (headers, key, text) => headers.set(key, text) });
  return onward;
}
