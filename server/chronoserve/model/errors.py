"""Why an item or a call could not be answered: one closed tree.

KVError
├── InvalidRequest        the caller's fault: bad name, key, value, time or message
├── Unauthenticated       no identity, or one that does not hold
├── PermissionDenied      the identity may not do this
├── UnknownDataset        no such dataset in any store
├── AlreadyExists         the dataset exists with other properties
├── FailedPrecondition    something must be set up first; the message says what
├── Unsupported           the store cannot do this; nothing was written
├── CorruptValue          what the store holds does not match its checksum or layout
├── Throttled             refused for load, certainly not applied; try again after ``retry_after``
├── AnswerTooLarge        the answers of a read are far beyond what a message may hold; fewer keys a call can be answered
├── Unavailable           the store could not be reached, certainly not applied; trying again may help
├── DeadlinePassed        time ran out before an answer, certainly not applied
├── WriteOutcomeUnknown   the write may have been applied or not (K7)
├── UnknownConf           no such join or group by: never uploaded, or under another name
├── TimeBeforeBatch       features were asked for at a time before the end of the batch data that is online
├── LateBatch             features are from batch data too old for their windows; named beside an answer, never in its place
├── DerivationFailed      a derivation's expression cannot be evaluated
├── ExternalFailed        an external source or a model did not answer
└── Internal              our own defect

Every class but ``WriteOutcomeUnknown`` says of a write: it was certainly not applied (spec/product.md §4, K7).
``reason`` is the machine-readable name that clients get in google.rpc.ErrorInfo.
"""

from typing import ClassVar


class KVError(Exception):
    """An error that a client may see: its text names no secret, key value or path of this machine."""

    reason: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """``retry_after`` is in seconds; None where no time can be named."""
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class InvalidRequest(KVError):
    """The request can never succeed as it is. ``field`` names the part that is wrong."""

    reason = "INVALID_REQUEST"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class Unauthenticated(KVError):
    reason = "UNAUTHENTICATED"


class PermissionDenied(KVError):
    reason = "PERMISSION_DENIED"


class UnknownDataset(KVError):
    reason = "UNKNOWN_DATASET"


class AlreadyExists(KVError):
    reason = "DATASET_EXISTS"


class FailedPrecondition(KVError):
    reason = "FAILED_PRECONDITION"


class Unsupported(KVError):
    reason = "UNSUPPORTED"


class CorruptValue(KVError):
    reason = "CORRUPT_VALUE"


class Throttled(KVError):
    reason = "THROTTLED"
    retryable = True


class AnswerTooLarge(KVError):
    reason = "ANSWER_TOO_LARGE"


class Unavailable(KVError):
    reason = "STORE_UNAVAILABLE"
    retryable = True


class DeadlinePassed(KVError):
    reason = "DEADLINE_PASSED"


class WriteOutcomeUnknown(KVError):
    reason = "WRITE_OUTCOME_UNKNOWN"


class UnknownConf(KVError):
    reason = "UNKNOWN_CONF"


class TimeBeforeBatch(KVError):
    reason = "TIME_BEFORE_BATCH"


class LateBatch(KVError):
    reason = "BATCH_LATE"


class DerivationFailed(KVError):
    reason = "DERIVATION_FAILED"


class ExternalFailed(KVError):
    reason = "EXTERNAL_FAILED"


class Internal(KVError):
    reason = "INTERNAL"
