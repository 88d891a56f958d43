import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { EngineError, type ErrorClass, system, unavailable } from "../../lib/errors.ts";
import { StoreError } from "../../store/store.ts";
import { CertificateRequestError } from "../identity/csr.ts";

const codes = {
  "not-found": Code.NotFound,
  invalid: Code.InvalidArgument,
  conflict: Code.AlreadyExists,
  forbidden: Code.PermissionDenied,
  unavailable: Code.Unavailable,
  "not-implemented": Code.Unimplemented,
  "not-modified": Code.Aborted,
  unauthorized: Code.Unauthenticated,
  system: Code.Unknown,
} as const satisfies Record<ErrorClass, Code>;

/** What a call's error says on the wire: texts that are meant for users as they are, of others nothing. */
export function toWire(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  if (error instanceof EngineError) return new ConnectError(error.message, codes[error.class]);
  if (error instanceof CertificateRequestError) return new ConnectError(error.message, Code.InvalidArgument);
  if (error instanceof StoreError) return new ConnectError("the cluster's store cannot be written", Code.Unavailable);
  return new ConnectError("internal error", Code.Internal);
}

/** The error of a call as the other end has thrown it. */
export function fromWire(error: unknown): EngineError {
  if (error instanceof EngineError) return error;
  const { code, rawMessage } = ConnectError.from(error);
  // Connect gives a broken connection codes that mean something else when a manager says them.
  if (reasonOf(error) !== undefined) return unavailable(rawMessage);
  const found = (Object.keys(codes) as ErrorClass[]).find((c) => codes[c] === code);
  if (found !== undefined) return new EngineError(found, rawMessage, { cause: error });
  return isLost(error) || code === Code.ResourceExhausted ? unavailable(rawMessage) : system(rawMessage, error);
}

/** The connection broke or did not come about: another manager may answer. */
export function isLost(error: unknown): boolean {
  // Connect does not know Node's words for a stream that ended with its connection.
  return lostCodes.includes(ConnectError.from(error).code) || /^ERR_(HTTP2|STREAM)_/.test(reasonOf(error) ?? "");
}
/** Node's code for what broke a connection; undefined for what the other end has said. */
const reasonOf = (error: unknown) =>
  (ConnectError.from(error).cause as Partial<NodeJS.ErrnoException> | undefined)?.code;
const lostCodes = [Code.Unavailable, Code.Canceled, Code.DeadlineExceeded, Code.Aborted];

/** Makes a server's errors those of `toWire`. @param failed told of errors whose text does not go over the wire */
export function explain(failed: (error: unknown, call: string) => void): Interceptor {
  return (next) => async (request) => {
    const explained = (error: unknown) => {
      const said = toWire(error);
      if (said.code === Code.Internal) failed(error, request.method.localName);
      return said;
    };
    try {
      const response = await next(request);
      return response.stream ? { ...response, message: guarded(response.message, explained) } : response;
    } catch (error) {
      throw explained(error);
    }
  };
}

async function* guarded<T>(messages: AsyncIterable<T>, explained: (error: unknown) => Error): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (error) {
    throw explained(error);
  }
}
