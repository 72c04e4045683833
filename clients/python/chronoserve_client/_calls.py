"""Every RPC as data: what is sent, how its answer reads, whether it writes.

The sync and the async client differ in who waits; what they wait for is made here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from chronoserve.v1 import kv_pb2
from chronoserve_client import _errors
from chronoserve_client._errors import ChronoserveError, Internal, WriteOutcomeUnknown
from chronoserve_client._values import (
    BulkProgress,
    BulkResult,
    Capabilities,
    Dataset,
    GetLike,
    GetResult,
    Kind,
    Put,
    PutLike,
    PutResult,
    ScanEntry,
    StoreCapability,
    TimedValue,
)

T = TypeVar("T")

MISS = GetResult()


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call. ``read`` makes the result of the response message.

    ``write``: being cut off leaves its outcome unknown. ``replayable``: a write that changes nothing when repeated.
    """

    method: str
    request: Message
    read: Callable[[Any], T]
    write: bool = False
    replayable: bool = False

    def error(self, failure: grpc.RpcError) -> ChronoserveError:
        return _errors.of_call(failure, write=self.write)

    def interrupted(self, message: str) -> ChronoserveError:
        return _errors.interrupted(message, write=self.write)

    def late(self, seconds: float) -> ChronoserveError:
        return _errors.late(seconds, write=self.write)


@dataclass(frozen=True, slots=True)
class Page:
    """``next_token``: empty after the last page."""

    entries: list[ScanEntry]
    next_token: str


# calls


def get(request: kv_pb2.GetRequest) -> Call[list[TimedValue]]:
    return Call("Get", request, _value_list)


def multi_get(requests: Sequence[kv_pb2.GetRequest]) -> Call[list[GetResult]]:
    return Call("MultiGet", kv_pb2.MultiGetRequest(requests=requests), partial(_get_results, len(requests)))


def put(request: Put) -> Call[None]:
    return Call("Put", put_message(request), _put_outcome, write=True, replayable=request.replayable)


def multi_put(requests: Iterable[PutLike]) -> Call[list[PutResult]]:
    puts = [Put(*request) for request in requests]
    message = kv_pb2.MultiPutRequest(requests=[put_message(request) for request in puts])
    replayable = all(request.replayable for request in puts)
    return Call("MultiPut", message, partial(_put_results, len(puts)), write=True, replayable=replayable)


def create(dataset: str, kind: Kind | None, ttl: timedelta | None) -> Call[Dataset]:
    properties = kv_pb2.DatasetProperties(kind=None if kind is None else f"DATASET_KIND_{kind.name}", ttl=ttl)
    message = kv_pb2.CreateRequest(dataset=dataset, properties=properties)
    return Call("Create", message, _created, write=True, replayable=True)


def delete(dataset: str, keys: Sequence[bytes]) -> Call[list[PutResult]]:
    # Never repeated by itself: it would also remove what another client wrote in between.
    message = kv_pb2.DeleteRequest(dataset=dataset, key_bytes=keys)
    return Call("Delete", message, partial(_put_results, len(keys)), write=True)


def scan(dataset: str, page_size: int, page_token: str) -> Call[Page]:
    return Call("Scan", kv_pb2.ScanRequest(dataset=dataset, page_size=page_size, page_token=page_token), _page)


def describe(dataset: str) -> Call[list[Dataset]]:
    return Call("Describe", kv_pb2.DescribeRequest(dataset=dataset), _datasets)


def capabilities() -> Call[Capabilities]:
    return Call("GetCapabilities", kv_pb2.GetCapabilitiesRequest(), _capabilities)


def health() -> Call[bool]:
    return Call("Check", health_pb2.HealthCheckRequest(), _serving)


# requests


def get_message(request: GetLike) -> kv_pb2.GetRequest:
    """Raises: TypeError, ValueError: a part of the request has the wrong type or range."""
    after = request[2] if len(request) == 3 else None
    return kv_pb2.GetRequest(key_bytes=request[1], dataset=request[0], after_ts_millis=after)


def put_message(request: Put) -> kv_pb2.PutRequest:
    """Raises: TypeError, ValueError: a part of the request has the wrong type or range."""
    return kv_pb2.PutRequest(
        key_bytes=request.key,
        value_bytes=request.value,
        dataset=request.dataset,
        ts_millis=request.millis,
        idempotency_token=request.idempotency_token,
    )


# responses


def _values(response: kv_pb2.GetResponse | kv_pb2.ScanEntry) -> tuple[TimedValue, ...]:
    return tuple([TimedValue(value.bytes, value.millis) for value in response.values])


def _value_list(response: kv_pb2.GetResponse) -> list[TimedValue]:
    return [TimedValue(value.bytes, value.millis) for value in response.values]


def _get_results(size: int, response: kv_pb2.MultiGetResponse) -> list[GetResult]:
    answers = response.responses
    if len(answers) != size:
        raise Internal(miscounted(size, len(answers)))
    return [_get_result(answer) for answer in answers]


def _get_result(response: kv_pb2.GetResponse) -> GetResult:
    values = _values(response)
    if values:
        return GetResult(values)
    return GetResult((), _errors.of_item(response.error)) if response.HasField("error") else MISS


def _put_outcome(response: kv_pb2.PutResponse) -> None:
    _put_result(response).unwrap()


def _put_result(response: kv_pb2.PutResponse) -> PutResult:
    return PutResult() if response.ok else PutResult(_errors.of_item(response.error))


def _put_results(size: int, response: kv_pb2.MultiPutResponse | kv_pb2.DeleteResponse) -> list[PutResult]:
    if len(response.responses) != size:
        raise WriteOutcomeUnknown(miscounted(size, len(response.responses)))
    return [_put_result(answer) for answer in response.responses]


def miscounted(asked: int, answered: int) -> str:
    """What is wrong where a batch has not one answer for each item."""
    return f"the server answered {answered} of {asked} items; check that client and server speak the same chronoserve.v1"


def _created(response: kv_pb2.CreateResponse) -> Dataset:
    return _dataset(response.dataset)


def _datasets(response: kv_pb2.DescribeResponse) -> list[Dataset]:
    return [_dataset(found) for found in response.datasets]


def _dataset(message: kv_pb2.Dataset) -> Dataset:
    ttl = message.properties.ttl.ToTimedelta()
    return Dataset(message.name, Kind(message.properties.kind), ttl or None, message.store)


def _page(response: kv_pb2.ScanResponse) -> Page:
    return Page([ScanEntry(entry.key_bytes, _values(entry)) for entry in response.entries], response.next_page_token)


def _capabilities(response: kv_pb2.GetCapabilitiesResponse) -> Capabilities:
    return Capabilities(tuple(map(_store, response.stores)), response.keys_per_call_max, response.message_bytes_max)


def _store(message: kv_pb2.StoreCapability) -> StoreCapability:
    flat = {field.name: getattr(message, field.name) for field in fields(StoreCapability)}
    return StoreCapability(**{**flat, "datasets": tuple(message.datasets)})


def _serving(response: health_pb2.HealthCheckResponse) -> bool:
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def progress(message: kv_pb2.BulkPutResponse) -> BulkProgress:
    return BulkProgress(
        rows=message.rows,
        rows_total=message.rows_total,
        bytes_written=message.bytes,
        rate=message.rate,
        resume_token=message.resume_token,
        result=_bulk_result(message.result) if message.done else None,
    )


def _bulk_result(message: kv_pb2.BulkPutResult) -> BulkResult:
    return BulkResult(message.rows_written, message.rows_refused, tuple(map(_errors.of_item, message.errors)))
