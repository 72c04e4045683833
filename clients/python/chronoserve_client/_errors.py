"""Why an item or a call was not answered: one closed tree, the same as the server's.

ChronoserveError
├── InvalidRequest        the caller's fault: bad name, key, value, time or message
├── Unauthenticated       no identity, or one that does not hold
├── PermissionDenied      the identity may not do this
├── UnknownDataset        no such dataset in any store
├── AlreadyExists         the dataset exists with other properties
├── FailedPrecondition    something must be set up first; the message says what
├── Unsupported           the store cannot do this; nothing was written
├── CorruptValue          what the store holds does not match its checksum or layout
├── Throttled             refused for load; try again after ``retry_after``
├── AnswerTooLarge        the answers of a read are far beyond what a message may hold: ask for fewer keys
├── Unavailable           not reached, or not able to answer; trying again may help
├── DeadlinePassed        time ran out before an answer
├── WriteOutcomeUnknown   the write may have been applied or not
├── UnknownConf           no such join or group by: never uploaded, or under another name
├── TimeBeforeBatch       features were asked for at a time before the end of the batch data that is online
├── LateBatch             features are from batch data too old for their windows; beside an answer, never in its place
├── DerivationFailed      a derivation's expression cannot be evaluated
├── ExternalFailed        an external source or a model did not answer
└── Internal              the server's own defect

Of a write every class but ``WriteOutcomeUnknown`` says: it was certainly not applied. So whatever cuts a write off
after it may have left (a lost connection, this client's own deadline) is a ``WriteOutcomeUnknown`` here.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "chronoserve"
"""The domain of the server's google.rpc.ErrorInfo; other domains are somebody else's reasons."""

STATUS_DETAILS = "grpc-status-details-bin"

Detail = TypeVar("Detail", bound=Message)


class ChronoserveError(Exception):
    """Every error of the service. ``retryable``: the same call may succeed later."""

    reason: ClassVar[str] = ""
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after: float | None = None, field: str = "") -> None:
        """``retry_after``: seconds, where the server names a time. ``field``: the part of the request that is wrong."""
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.field = field


class InvalidRequest(ChronoserveError):
    reason = "INVALID_REQUEST"


class Unauthenticated(ChronoserveError):
    reason = "UNAUTHENTICATED"


class PermissionDenied(ChronoserveError):
    reason = "PERMISSION_DENIED"


class UnknownDataset(ChronoserveError):
    reason = "UNKNOWN_DATASET"


class AlreadyExists(ChronoserveError):
    reason = "DATASET_EXISTS"


class FailedPrecondition(ChronoserveError):
    reason = "FAILED_PRECONDITION"


class Unsupported(ChronoserveError):
    reason = "UNSUPPORTED"


class CorruptValue(ChronoserveError):
    reason = "CORRUPT_VALUE"


class Throttled(ChronoserveError):
    reason = "THROTTLED"
    retryable = True


class AnswerTooLarge(ChronoserveError):
    reason = "ANSWER_TOO_LARGE"


class Unavailable(ChronoserveError):
    reason = "STORE_UNAVAILABLE"
    retryable = True


class DeadlinePassed(ChronoserveError):
    reason = "DEADLINE_PASSED"


class WriteOutcomeUnknown(ChronoserveError):
    reason = "WRITE_OUTCOME_UNKNOWN"


class UnknownConf(ChronoserveError):
    reason = "UNKNOWN_CONF"


class TimeBeforeBatch(ChronoserveError):
    reason = "TIME_BEFORE_BATCH"


class LateBatch(ChronoserveError):
    reason = "BATCH_LATE"


class DerivationFailed(ChronoserveError):
    reason = "DERIVATION_FAILED"


class ExternalFailed(ChronoserveError):
    reason = "EXTERNAL_FAILED"


class Internal(ChronoserveError):
    reason = "INTERNAL"


BY_REASON = {kind.reason: kind for kind in ChronoserveError.__subclasses__()}

BY_CODE: dict[grpc.StatusCode, type[ChronoserveError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.NOT_FOUND: UnknownDataset,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
    grpc.StatusCode.DATA_LOSS: CorruptValue,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Throttled,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.ABORTED: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlinePassed,
}
"""For statuses without a reason of ours: gRPC itself, a proxy, a newer server. What is not here is Internal."""

BY_NUMBER = {code.value[0]: kind for code, kind in BY_CODE.items()}

REFUSALS = frozenset({
    InvalidRequest, Unauthenticated, PermissionDenied, UnknownDataset, AlreadyExists, FailedPrecondition, Unsupported, Throttled,
})  # fmt: skip
"""What a status without a reason of ours cannot say of a write that was applied. Any other may end an applied one."""

NEVER_SENT = ("connections to all backends failing", "failed to connect to all addresses", "DNS resolution failed", "empty address list")
"""How gRPC begins an UNAVAILABLE for a call that never left. Unknown texts fall on the safe side: the outcome is unknown."""

TOO_LARGE = "message larger than max"
ANSWER_TOO_LARGE = "CLIENT: Received " + TOO_LARGE


def of_item(status: status_pb2.Status) -> ChronoserveError:
    """The error of one item in a batch."""
    return _told_by_server(status) or BY_NUMBER.get(status.code, Internal)(status.message)


def of_call(failure: grpc.RpcError, *, write: bool) -> ChronoserveError:
    """The error of a call that failed as a whole."""
    call = cast("grpc.Call", failure)
    return _told_by_server(_details(call.trailing_metadata())) or _of_transport(call.code(), call.details() or "", write=write)


def from_server(failure: grpc.RpcError) -> bool:
    """The server itself ended the call, with a reason of ours."""
    return _told_by_server(_details(cast("grpc.Call", failure).trailing_metadata())) is not None


def interrupted(message: str, *, write: bool) -> ChronoserveError:
    """The error of a call that this side gave up after it may have left."""
    return WriteOutcomeUnknown(f"{message}; the write may have been applied") if write else Unavailable(message)


def late(seconds: float, *, write: bool) -> ChronoserveError:
    """The error of a call whose time ran out on this side."""
    message = f"no answer within {seconds:g} s"
    return WriteOutcomeUnknown(f"{message}; the write may have been applied") if write else DeadlinePassed(message)


def _of_transport(code: grpc.StatusCode, details: str, *, write: bool) -> ChronoserveError:
    message = details or f"the call ended with {code.name}"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and TOO_LARGE in details:
        message += "; send fewer items in a call, or raise message_bytes_max here and at the server"
        applied = write and details.startswith(ANSWER_TOO_LARGE)
        return WriteOutcomeUnknown(message) if applied else InvalidRequest(message)
    kind = BY_CODE.get(code, Internal)
    never_left = kind is Unavailable and details.startswith(NEVER_SENT)
    if write and not never_left and kind not in REFUSALS:
        return WriteOutcomeUnknown(f"{message}; the write may have been applied")
    return kind(message)


def _details(trailers: Iterable[tuple[str, Any]] | None) -> status_pb2.Status:
    """The google.rpc.Status in a call's trailers; an empty one where there is none."""
    for key, value in trailers or ():
        if key == STATUS_DETAILS:
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break  # written by somebody else; the status code still tells
    return status_pb2.Status()


def _told_by_server(status: status_pb2.Status) -> ChronoserveError | None:
    """The error that the details name; None where they hold no reason that this client knows."""
    info = _detail(status, error_details_pb2.ErrorInfo)
    if info is None or info.domain != DOMAIN or info.reason not in BY_REASON:
        return None
    retry = _detail(status, error_details_pb2.RetryInfo)
    request = _detail(status, error_details_pb2.BadRequest)
    return BY_REASON[info.reason](
        status.message,
        retry_after=None if retry is None else retry.retry_delay.ToTimedelta().total_seconds(),
        field=request.field_violations[0].field if request is not None and request.field_violations else "",
    )


def _detail(status: status_pb2.Status, kind: type[Detail]) -> Detail | None:
    for packed in status.details:
        detail = kind()
        if packed.Unpack(detail):
            return detail
    return None
