import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_UNSPECIFIED: _ClassVar[Encoding]
    ENCODING_MAP: _ClassVar[Encoding]
    ENCODING_PACKED: _ClassVar[Encoding]
    ENCODING_AVRO: _ClassVar[Encoding]

class RowStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROW_STATUS_UNSPECIFIED: _ClassVar[RowStatus]
    ROW_STATUS_OK: _ClassVar[RowStatus]
    ROW_STATUS_MISSING: _ClassVar[RowStatus]
    ROW_STATUS_DEGRADED: _ClassVar[RowStatus]
    ROW_STATUS_ERROR: _ClassVar[RowStatus]

class FetchTarget(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FETCH_TARGET_UNSPECIFIED: _ClassVar[FetchTarget]
    FETCH_TARGET_JOINS: _ClassVar[FetchTarget]
    FETCH_TARGET_GROUP_BYS: _ClassVar[FetchTarget]
ENCODING_UNSPECIFIED: Encoding
ENCODING_MAP: Encoding
ENCODING_PACKED: Encoding
ENCODING_AVRO: Encoding
ROW_STATUS_UNSPECIFIED: RowStatus
ROW_STATUS_OK: RowStatus
ROW_STATUS_MISSING: RowStatus
ROW_STATUS_DEGRADED: RowStatus
ROW_STATUS_ERROR: RowStatus
FETCH_TARGET_UNSPECIFIED: FetchTarget
FETCH_TARGET_JOINS: FetchTarget
FETCH_TARGET_GROUP_BYS: FetchTarget

class Value(_message.Message):
    __slots__ = ("null_value", "bool_value", "int_value", "float_value", "double_value", "string_value", "bytes_value", "list_value", "map_value")
    NULL_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT_VALUE_FIELD_NUMBER: _ClassVar[int]
    FLOAT_VALUE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    BYTES_VALUE_FIELD_NUMBER: _ClassVar[int]
    LIST_VALUE_FIELD_NUMBER: _ClassVar[int]
    MAP_VALUE_FIELD_NUMBER: _ClassVar[int]
    null_value: _struct_pb2.NullValue
    bool_value: bool
    int_value: int
    float_value: float
    double_value: float
    string_value: str
    bytes_value: bytes
    list_value: ListValue
    map_value: MapValue
    def __init__(self, null_value: _Optional[_Union[_struct_pb2.NullValue, str]] = ..., bool_value: bool = ..., int_value: _Optional[int] = ..., float_value: _Optional[float] = ..., double_value: _Optional[float] = ..., string_value: _Optional[str] = ..., bytes_value: _Optional[bytes] = ..., list_value: _Optional[_Union[ListValue, _Mapping]] = ..., map_value: _Optional[_Union[MapValue, _Mapping]] = ...) -> None: ...

class ListValue(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class MapValue(_message.Message):
    __slots__ = ("entries",)
    class EntriesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.MessageMap[str, Value]
    def __init__(self, entries: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class FeatureRequest(_message.Message):
    __slots__ = ("name", "keys", "at_millis")
    class KeysEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    AT_MILLIS_FIELD_NUMBER: _ClassVar[int]
    name: str
    keys: _containers.MessageMap[str, Value]
    at_millis: int
    def __init__(self, name: _Optional[str] = ..., keys: _Optional[_Mapping[str, Value]] = ..., at_millis: _Optional[int] = ...) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("requests", "encoding", "include_freshness")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[FeatureRequest]
    encoding: Encoding
    include_freshness: bool
    def __init__(self, requests: _Optional[_Iterable[_Union[FeatureRequest, _Mapping]]] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., include_freshness: bool = ...) -> None: ...

class StreamFetchRequest(_message.Message):
    __slots__ = ("target", "fetch")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    FETCH_FIELD_NUMBER: _ClassVar[int]
    target: FetchTarget
    fetch: FetchRequest
    def __init__(self, target: _Optional[_Union[FetchTarget, str]] = ..., fetch: _Optional[_Union[FetchRequest, _Mapping]] = ...) -> None: ...

class Freshness(_message.Message):
    __slots__ = ("batch_end_millis", "stream_millis")
    BATCH_END_MILLIS_FIELD_NUMBER: _ClassVar[int]
    STREAM_MILLIS_FIELD_NUMBER: _ClassVar[int]
    batch_end_millis: int
    stream_millis: int
    def __init__(self, batch_end_millis: _Optional[int] = ..., stream_millis: _Optional[int] = ...) -> None: ...

class FeatureResponse(_message.Message):
    __slots__ = ("features", "status", "error", "part_errors", "freshness", "avro", "schema_hash")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    class PartErrorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _status_pb2.Status
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
    class FreshnessEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Freshness
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Freshness, _Mapping]] = ...) -> None: ...
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PART_ERRORS_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    AVRO_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_HASH_FIELD_NUMBER: _ClassVar[int]
    features: _containers.MessageMap[str, Value]
    status: RowStatus
    error: _status_pb2.Status
    part_errors: _containers.MessageMap[str, _status_pb2.Status]
    freshness: _containers.MessageMap[str, Freshness]
    avro: bytes
    schema_hash: str
    def __init__(self, features: _Optional[_Mapping[str, Value]] = ..., status: _Optional[_Union[RowStatus, str]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., part_errors: _Optional[_Mapping[str, _status_pb2.Status]] = ..., freshness: _Optional[_Mapping[str, Freshness]] = ..., avro: _Optional[bytes] = ..., schema_hash: _Optional[str] = ...) -> None: ...

class FeatureColumn(_message.Message):
    __slots__ = ("name", "rows", "nulls", "bool_values", "int_values", "float_values", "double_values", "string_values", "bytes_values", "other_values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    NULLS_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUES_FIELD_NUMBER: _ClassVar[int]
    INT_VALUES_FIELD_NUMBER: _ClassVar[int]
    FLOAT_VALUES_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_VALUES_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUES_FIELD_NUMBER: _ClassVar[int]
    BYTES_VALUES_FIELD_NUMBER: _ClassVar[int]
    OTHER_VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    rows: _containers.RepeatedScalarFieldContainer[int]
    nulls: _containers.RepeatedScalarFieldContainer[bool]
    bool_values: BoolColumn
    int_values: IntColumn
    float_values: FloatColumn
    double_values: DoubleColumn
    string_values: StringColumn
    bytes_values: BytesColumn
    other_values: ListValue
    def __init__(self, name: _Optional[str] = ..., rows: _Optional[_Iterable[int]] = ..., nulls: _Optional[_Iterable[bool]] = ..., bool_values: _Optional[_Union[BoolColumn, _Mapping]] = ..., int_values: _Optional[_Union[IntColumn, _Mapping]] = ..., float_values: _Optional[_Union[FloatColumn, _Mapping]] = ..., double_values: _Optional[_Union[DoubleColumn, _Mapping]] = ..., string_values: _Optional[_Union[StringColumn, _Mapping]] = ..., bytes_values: _Optional[_Union[BytesColumn, _Mapping]] = ..., other_values: _Optional[_Union[ListValue, _Mapping]] = ...) -> None: ...

class BoolColumn(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, values: _Optional[_Iterable[bool]] = ...) -> None: ...

class IntColumn(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...

class FloatColumn(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class DoubleColumn(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class StringColumn(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class BytesColumn(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, values: _Optional[_Iterable[bytes]] = ...) -> None: ...

class FetchResponse(_message.Message):
    __slots__ = ("responses", "columns")
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[FeatureResponse]
    columns: _containers.RepeatedCompositeFieldContainer[FeatureColumn]
    def __init__(self, responses: _Optional[_Iterable[_Union[FeatureResponse, _Mapping]]] = ..., columns: _Optional[_Iterable[_Union[FeatureColumn, _Mapping]]] = ...) -> None: ...

class GetJoinSchemaRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetJoinSchemaResponse(_message.Message):
    __slots__ = ("name", "key_schema", "value_schema", "schema_hash", "value_infos")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    VALUE_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_HASH_FIELD_NUMBER: _ClassVar[int]
    VALUE_INFOS_FIELD_NUMBER: _ClassVar[int]
    name: str
    key_schema: str
    value_schema: str
    schema_hash: str
    value_infos: _containers.RepeatedCompositeFieldContainer[ValueInfo]
    def __init__(self, name: _Optional[str] = ..., key_schema: _Optional[str] = ..., value_schema: _Optional[str] = ..., schema_hash: _Optional[str] = ..., value_infos: _Optional[_Iterable[_Union[ValueInfo, _Mapping]]] = ...) -> None: ...

class ValueInfo(_message.Message):
    __slots__ = ("name", "group", "prefix", "left_keys", "type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    LEFT_KEYS_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    group: str
    prefix: str
    left_keys: _containers.RepeatedScalarFieldContainer[str]
    type: str
    def __init__(self, name: _Optional[str] = ..., group: _Optional[str] = ..., prefix: _Optional[str] = ..., left_keys: _Optional[_Iterable[str]] = ..., type: _Optional[str] = ...) -> None: ...

class GetGroupBySchemaRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetGroupBySchemaResponse(_message.Message):
    __slots__ = ("name", "key_schema", "value_schema", "schema_hash", "input_schema", "selected_schema", "batch_end_millis")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    VALUE_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_HASH_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    SELECTED_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    BATCH_END_MILLIS_FIELD_NUMBER: _ClassVar[int]
    name: str
    key_schema: str
    value_schema: str
    schema_hash: str
    input_schema: str
    selected_schema: str
    batch_end_millis: int
    def __init__(self, name: _Optional[str] = ..., key_schema: _Optional[str] = ..., value_schema: _Optional[str] = ..., schema_hash: _Optional[str] = ..., input_schema: _Optional[str] = ..., selected_schema: _Optional[str] = ..., batch_end_millis: _Optional[int] = ...) -> None: ...

class ListJoinsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListJoinsResponse(_message.Message):
    __slots__ = ("names", "next_page_token")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    next_page_token: str
    def __init__(self, names: _Optional[_Iterable[str]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListGroupBysRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListGroupBysResponse(_message.Message):
    __slots__ = ("names", "next_page_token")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    next_page_token: str
    def __init__(self, names: _Optional[_Iterable[str]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("target", "request")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    target: FetchTarget
    request: FeatureRequest
    def __init__(self, target: _Optional[_Union[FetchTarget, str]] = ..., request: _Optional[_Union[FeatureRequest, _Mapping]] = ...) -> None: ...

class ExplainedRead(_message.Message):
    __slots__ = ("part", "dataset", "key_bytes", "after_ts_millis", "values", "freshness", "error", "newest_millis", "cached")
    PART_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    KEY_BYTES_FIELD_NUMBER: _ClassVar[int]
    AFTER_TS_MILLIS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    NEWEST_MILLIS_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    part: str
    dataset: str
    key_bytes: bytes
    after_ts_millis: int
    values: int
    freshness: Freshness
    error: _status_pb2.Status
    newest_millis: int
    cached: bool
    def __init__(self, part: _Optional[str] = ..., dataset: _Optional[str] = ..., key_bytes: _Optional[bytes] = ..., after_ts_millis: _Optional[int] = ..., values: _Optional[int] = ..., freshness: _Optional[_Union[Freshness, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., newest_millis: _Optional[int] = ..., cached: bool = ...) -> None: ...

class ExplainedPhase(_message.Message):
    __slots__ = ("name", "duration")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    duration: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("response", "reads", "phases", "feature_parts")
    class FeaturePartsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    PHASES_FIELD_NUMBER: _ClassVar[int]
    FEATURE_PARTS_FIELD_NUMBER: _ClassVar[int]
    response: FeatureResponse
    reads: _containers.RepeatedCompositeFieldContainer[ExplainedRead]
    phases: _containers.RepeatedCompositeFieldContainer[ExplainedPhase]
    feature_parts: _containers.ScalarMap[str, str]
    def __init__(self, response: _Optional[_Union[FeatureResponse, _Mapping]] = ..., reads: _Optional[_Iterable[_Union[ExplainedRead, _Mapping]]] = ..., phases: _Optional[_Iterable[_Union[ExplainedPhase, _Mapping]]] = ..., feature_parts: _Optional[_Mapping[str, str]] = ...) -> None: ...
