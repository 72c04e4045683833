from chronoserve.v1 import fetcher_pb2 as _fetcher_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExternalSourceFetchRequest(_message.Message):
    __slots__ = ("source", "factory_params", "rows")
    class FactoryParamsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FACTORY_PARAMS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    source: str
    factory_params: _containers.ScalarMap[str, str]
    rows: _containers.RepeatedCompositeFieldContainer[ExternalRow]
    def __init__(self, source: _Optional[str] = ..., factory_params: _Optional[_Mapping[str, str]] = ..., rows: _Optional[_Iterable[_Union[ExternalRow, _Mapping]]] = ...) -> None: ...

class ExternalRow(_message.Message):
    __slots__ = ("keys",)
    class KeysEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _fetcher_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_fetcher_pb2.Value, _Mapping]] = ...) -> None: ...
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.MessageMap[str, _fetcher_pb2.Value]
    def __init__(self, keys: _Optional[_Mapping[str, _fetcher_pb2.Value]] = ...) -> None: ...

class ExternalSourceFetchResponse(_message.Message):
    __slots__ = ("answers",)
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    answers: _containers.RepeatedCompositeFieldContainer[ExternalAnswer]
    def __init__(self, answers: _Optional[_Iterable[_Union[ExternalAnswer, _Mapping]]] = ...) -> None: ...

class ExternalAnswer(_message.Message):
    __slots__ = ("values", "error")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _fetcher_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_fetcher_pb2.Value, _Mapping]] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    values: _containers.MessageMap[str, _fetcher_pb2.Value]
    error: _status_pb2.Status
    def __init__(self, values: _Optional[_Mapping[str, _fetcher_pb2.Value]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
