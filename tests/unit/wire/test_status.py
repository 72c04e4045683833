"""The table from errors to statuses: complete, and with the details that clients act upon."""

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from chronoserve.model import errors
from chronoserve.model.errors import InvalidRequest, KVError
from chronoserve.wire.status import CODES, RETRY_AFTER_DEFAULT_SECONDS, code, get_response, put_response, status

EXPECTED = {
    errors.InvalidRequest: "INVALID_ARGUMENT",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.PermissionDenied: "PERMISSION_DENIED",
    errors.UnknownDataset: "NOT_FOUND",
    errors.AlreadyExists: "ALREADY_EXISTS",
    errors.FailedPrecondition: "FAILED_PRECONDITION",
    errors.Unsupported: "UNIMPLEMENTED",
    errors.CorruptValue: "DATA_LOSS",
    errors.Throttled: "RESOURCE_EXHAUSTED",
    errors.AnswerTooLarge: "RESOURCE_EXHAUSTED",
    errors.Unavailable: "UNAVAILABLE",
    errors.DeadlinePassed: "DEADLINE_EXCEEDED",
    errors.WriteOutcomeUnknown: "UNKNOWN",
    errors.UnknownConf: "NOT_FOUND",
    errors.TimeBeforeBatch: "OUT_OF_RANGE",
    errors.LateBatch: "FAILED_PRECONDITION",
    errors.DerivationFailed: "FAILED_PRECONDITION",
    errors.ExternalFailed: "UNAVAILABLE",
    errors.Internal: "INTERNAL",
}

OF_FEATURES = {errors.UnknownConf, errors.TimeBeforeBatch, errors.LateBatch, errors.DerivationFailed, errors.ExternalFailed}
"""Errors of parts of a feature row: clients tell them apart by the reason in ErrorInfo."""


def subclasses(of: type[KVError]) -> Iterator[type[KVError]]:
    for each in of.__subclasses__():
        yield each
        yield from subclasses(each)


EVERY = sorted((each for each in subclasses(KVError) if each.__module__.startswith("chronoserve.")), key=lambda each: each.__name__)


def details(error: KVError) -> dict[type[Message], Message]:
    found: dict[type[Message], Message] = {}
    for packed in status(error).details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo, error_details_pb2.BadRequest):
            if packed.Is(kind.DESCRIPTOR):
                found[kind] = kind.FromString(packed.value)
    assert len(found) == len(status(error).details)
    return found


def test_every_error_has_a_status_of_its_own() -> None:
    assert set(CODES) == set(EVERY) == set(EXPECTED)
    assert {kind: found.name for kind, found in CODES.items()} == EXPECTED
    of_stores = [found for kind, found in CODES.items() if kind not in {*OF_FEATURES, errors.AnswerTooLarge}]  # which has no RetryInfo
    assert len(set(of_stores)) == len(of_stores), "a client of KVStore can tell them apart by the code alone"
    assert len({kind.reason for kind in EVERY}) == len(EVERY)
    assert grpc.StatusCode.OK not in CODES.values()


def test_only_an_unknown_outcome_is_unknown() -> None:
    """K7: UNKNOWN with this reason, and only it, says that the write may have been applied."""
    assert [kind for kind in EVERY if code(kind("x")) is grpc.StatusCode.UNKNOWN] == [errors.WriteOutcomeUnknown]
    assert errors.WriteOutcomeUnknown.reason == "WRITE_OUTCOME_UNKNOWN"


@pytest.mark.parametrize("kind", EVERY)
def test_the_details_say_the_reason_and_whether_to_come_back(kind: type[KVError]) -> None:
    error = kind("what happened")
    found = details(error)
    info = found[error_details_pb2.ErrorInfo]
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (kind.reason, "chronoserve")
    assert (error_details_pb2.RetryInfo in found) == kind.retryable
    assert (status(error).code, status(error).message) == (CODES[kind].value[0], "what happened")
    assert put_response(error).error == status(error)
    assert not put_response(error).ok
    assert get_response(error)


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind.retryable])
@pytest.mark.parametrize("seconds", [None, 0.0, 1e-9, 0.25, 3600.0])
def test_the_delay_of_a_retryable_error_is_positive(kind: type[KVError], seconds: float | None) -> None:
    found = details(kind("busy", retry_after=seconds))[error_details_pb2.RetryInfo]
    assert isinstance(found, error_details_pb2.RetryInfo)
    delay = found.retry_delay.ToMicroseconds() / 1e6
    assert delay == pytest.approx(RETRY_AFTER_DEFAULT_SECONDS if seconds is None else max(seconds, 1e-6))


def test_a_wrong_field_is_named() -> None:
    found = details(InvalidRequest("too long", field="key_bytes"))[error_details_pb2.BadRequest]
    assert isinstance(found, error_details_pb2.BadRequest)
    (violation,) = found.field_violations
    assert (violation.field, violation.description) == ("key_bytes", "too long")
    assert error_details_pb2.BadRequest not in details(InvalidRequest("no field"))
