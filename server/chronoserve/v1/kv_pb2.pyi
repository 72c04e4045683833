import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DatasetKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATASET_KIND_UNSPECIFIED: _ClassVar[DatasetKind]
    DATASET_KIND_LATEST: _ClassVar[DatasetKind]
    DATASET_KIND_TIMED: _ClassVar[DatasetKind]
DATASET_KIND_UNSPECIFIED: DatasetKind
DATASET_KIND_LATEST: DatasetKind
DATASET_KIND_TIMED: DatasetKind

class DatasetProperties(_message.Message):
    __slots__ = ("kind", "ttl")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    kind: DatasetKind
    ttl: _duration_pb2.Duration
    def __init__(self, kind: _Optional[_Union[DatasetKind, str]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Dataset(_message.Message):
    __slots__ = ("name", "properties", "store")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    name: str
    properties: DatasetProperties
    store: str
    def __init__(self, name: _Optional[str] = ..., properties: _Optional[_Union[DatasetProperties, _Mapping]] = ..., store: _Optional[str] = ...) -> None: ...

class CreateRequest(_message.Message):
    __slots__ = ("dataset", "properties")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    properties: DatasetProperties
    def __init__(self, dataset: _Optional[str] = ..., properties: _Optional[_Union[DatasetProperties, _Mapping]] = ...) -> None: ...

class CreateResponse(_message.Message):
    __slots__ = ("dataset",)
    DATASET_FIELD_NUMBER: _ClassVar[int]
    dataset: Dataset
    def __init__(self, dataset: _Optional[_Union[Dataset, _Mapping]] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("key_bytes", "dataset", "after_ts_millis")
    KEY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    AFTER_TS_MILLIS_FIELD_NUMBER: _ClassVar[int]
    key_bytes: bytes
    dataset: str
    after_ts_millis: int
    def __init__(self, key_bytes: _Optional[bytes] = ..., dataset: _Optional[str] = ..., after_ts_millis: _Optional[int] = ...) -> None: ...

class TimedValue(_message.Message):
    __slots__ = ("bytes", "millis")
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MILLIS_FIELD_NUMBER: _ClassVar[int]
    bytes: bytes
    millis: int
    def __init__(self, bytes: _Optional[bytes] = ..., millis: _Optional[int] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("values", "error")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[TimedValue]
    error: _status_pb2.Status
    def __init__(self, values: _Optional[_Iterable[_Union[TimedValue, _Mapping]]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class MultiGetRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[GetRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[GetRequest, _Mapping]]] = ...) -> None: ...

class MultiGetResponse(_message.Message):
    __slots__ = ("responses",)
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[GetResponse]
    def __init__(self, responses: _Optional[_Iterable[_Union[GetResponse, _Mapping]]] = ...) -> None: ...

class PutRequest(_message.Message):
    __slots__ = ("key_bytes", "value_bytes", "dataset", "ts_millis", "idempotency_token")
    KEY_BYTES_FIELD_NUMBER: _ClassVar[int]
    VALUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    TS_MILLIS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_TOKEN_FIELD_NUMBER: _ClassVar[int]
    key_bytes: bytes
    value_bytes: bytes
    dataset: str
    ts_millis: int
    idempotency_token: bytes
    def __init__(self, key_bytes: _Optional[bytes] = ..., value_bytes: _Optional[bytes] = ..., dataset: _Optional[str] = ..., ts_millis: _Optional[int] = ..., idempotency_token: _Optional[bytes] = ...) -> None: ...

class PutResponse(_message.Message):
    __slots__ = ("ok", "error")
    OK_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    error: _status_pb2.Status
    def __init__(self, ok: bool = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class MultiPutRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[PutRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[PutRequest, _Mapping]]] = ...) -> None: ...

class MultiPutResponse(_message.Message):
    __slots__ = ("responses",)
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[PutResponse]
    def __init__(self, responses: _Optional[_Iterable[_Union[PutResponse, _Mapping]]] = ...) -> None: ...

class BulkPutRequest(_message.Message):
    __slots__ = ("source_offline_table", "destination_online_dataset", "partition", "resume_token")
    SOURCE_OFFLINE_TABLE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_ONLINE_DATASET_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    source_offline_table: str
    destination_online_dataset: str
    partition: str
    resume_token: str
    def __init__(self, source_offline_table: _Optional[str] = ..., destination_online_dataset: _Optional[str] = ..., partition: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class BulkPutResponse(_message.Message):
    __slots__ = ("rows", "bytes", "rate", "done", "result", "resume_token", "rows_total")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ROWS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    rows: int
    bytes: int
    rate: float
    done: bool
    result: BulkPutResult
    resume_token: str
    rows_total: int
    def __init__(self, rows: _Optional[int] = ..., bytes: _Optional[int] = ..., rate: _Optional[float] = ..., done: bool = ..., result: _Optional[_Union[BulkPutResult, _Mapping]] = ..., resume_token: _Optional[str] = ..., rows_total: _Optional[int] = ...) -> None: ...

class BulkPutResult(_message.Message):
    __slots__ = ("rows_written", "rows_refused", "errors")
    ROWS_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    ROWS_REFUSED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    rows_written: int
    rows_refused: int
    errors: _containers.RepeatedCompositeFieldContainer[_status_pb2.Status]
    def __init__(self, rows_written: _Optional[int] = ..., rows_refused: _Optional[int] = ..., errors: _Optional[_Iterable[_Union[_status_pb2.Status, _Mapping]]] = ...) -> None: ...

class ScanRequest(_message.Message):
    __slots__ = ("dataset", "page_size", "page_token")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    page_size: int
    page_token: str
    def __init__(self, dataset: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ScanEntry(_message.Message):
    __slots__ = ("key_bytes", "values")
    KEY_BYTES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    key_bytes: bytes
    values: _containers.RepeatedCompositeFieldContainer[TimedValue]
    def __init__(self, key_bytes: _Optional[bytes] = ..., values: _Optional[_Iterable[_Union[TimedValue, _Mapping]]] = ...) -> None: ...

class ScanResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[ScanEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[ScanEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("dataset", "key_bytes")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    KEY_BYTES_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    key_bytes: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, dataset: _Optional[str] = ..., key_bytes: _Optional[_Iterable[bytes]] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("responses",)
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[PutResponse]
    def __init__(self, responses: _Optional[_Iterable[_Union[PutResponse, _Mapping]]] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("dataset",)
    DATASET_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    def __init__(self, dataset: _Optional[str] = ...) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("datasets",)
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    datasets: _containers.RepeatedCompositeFieldContainer[Dataset]
    def __init__(self, datasets: _Optional[_Iterable[_Union[Dataset, _Mapping]]] = ...) -> None: ...

class GetCapabilitiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCapabilitiesResponse(_message.Message):
    __slots__ = ("stores", "keys_per_call_max", "message_bytes_max")
    STORES_FIELD_NUMBER: _ClassVar[int]
    KEYS_PER_CALL_MAX_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    stores: _containers.RepeatedCompositeFieldContainer[StoreCapability]
    keys_per_call_max: int
    message_bytes_max: int
    def __init__(self, stores: _Optional[_Iterable[_Union[StoreCapability, _Mapping]]] = ..., keys_per_call_max: _Optional[int] = ..., message_bytes_max: _Optional[int] = ...) -> None: ...

class StoreCapability(_message.Message):
    __slots__ = ("store", "engine", "datasets", "key_bytes_max", "value_bytes_max", "multi_get_keys_max", "multi_put_keys_max", "timed", "ttl", "scan", "delete", "durable", "durability", "linearizable")
    STORE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    KEY_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    VALUE_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    MULTI_GET_KEYS_MAX_FIELD_NUMBER: _ClassVar[int]
    MULTI_PUT_KEYS_MAX_FIELD_NUMBER: _ClassVar[int]
    TIMED_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    SCAN_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    LINEARIZABLE_FIELD_NUMBER: _ClassVar[int]
    store: str
    engine: str
    datasets: _containers.RepeatedScalarFieldContainer[str]
    key_bytes_max: int
    value_bytes_max: int
    multi_get_keys_max: int
    multi_put_keys_max: int
    timed: bool
    ttl: bool
    scan: bool
    delete: bool
    durable: bool
    durability: str
    linearizable: bool
    def __init__(self, store: _Optional[str] = ..., engine: _Optional[str] = ..., datasets: _Optional[_Iterable[str]] = ..., key_bytes_max: _Optional[int] = ..., value_bytes_max: _Optional[int] = ..., multi_get_keys_max: _Optional[int] = ..., multi_put_keys_max: _Optional[int] = ..., timed: bool = ..., ttl: bool = ..., scan: bool = ..., delete: bool = ..., durable: bool = ..., durability: _Optional[str] = ..., linearizable: bool = ...) -> None: ...
