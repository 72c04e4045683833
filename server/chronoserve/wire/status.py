"""From our errors to gRPC statuses: one table, in both directions of a reply (an item's error, a call's status)."""

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from chronoserve.model import errors
from chronoserve.model.errors import InvalidRequest, KVError
from chronoserve.v1 import kv_pb2

DOMAIN = "chronoserve"
"""The domain of every google.rpc.ErrorInfo."""

CODES: dict[type[KVError], grpc.StatusCode] = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.UnknownDataset: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.CorruptValue: grpc.StatusCode.DATA_LOSS,
    errors.Throttled: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.AnswerTooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlinePassed: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.WriteOutcomeUnknown: grpc.StatusCode.UNKNOWN,
    errors.UnknownConf: grpc.StatusCode.NOT_FOUND,
    errors.TimeBeforeBatch: grpc.StatusCode.OUT_OF_RANGE,
    errors.LateBatch: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DerivationFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ExternalFailed: grpc.StatusCode.UNAVAILABLE,
    errors.Internal: grpc.StatusCode.INTERNAL,
}

RETRY_AFTER_DEFAULT_SECONDS = 0.1
"""What RetryInfo says where an error that may pass names no time of its own."""


def code(error: KVError) -> grpc.StatusCode:
    """The status code of an error's kind."""
    return CODES[type(error)]


def status(error: KVError) -> status_pb2.Status:
    """The error with its details: ErrorInfo always, RetryInfo where trying again may help, BadRequest where a field is wrong."""
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)]
    if error.retryable:
        seconds = RETRY_AFTER_DEFAULT_SECONDS if error.retry_after is None else error.retry_after
        delay = Duration()
        delay.FromMicroseconds(max(1, round(seconds * 1_000_000)))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, InvalidRequest) and error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    reply = status_pb2.Status(code=code(error).value[0], message=error.message)
    for detail in details:
        reply.details.append(_packed(detail))
    return reply


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def get_response(error: KVError) -> bytes:
    """A serialised GetResponse that carries the error."""
    return kv_pb2.GetResponse(error=status(error)).SerializeToString()


def put_response(error: KVError | None) -> kv_pb2.PutResponse:
    return kv_pb2.PutResponse(ok=True) if error is None else kv_pb2.PutResponse(ok=False, error=status(error))
