"""The RPCs of the Fetcher as data, as ``_calls`` has those of the store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from chronoserve.v1 import fetcher_pb2
from chronoserve_client import _errors
from chronoserve_client._calls import Call, miscounted
from chronoserve_client._errors import ChronoserveError, Internal
from chronoserve_client._features import (
    Encoding,
    Explained,
    ExplainedRead,
    FeatureRow,
    Fetch,
    FetchLike,
    Freshness,
    GroupBySchema,
    JoinSchema,
    RowStatus,
    ValueInfo,
)

Kind = Literal["joins", "group_bys"]

METHODS: Mapping[Kind, str] = {"joins": "FetchJoins", "group_bys": "FetchGroupBys"}
TARGETS: Mapping[Kind, fetcher_pb2.FetchTarget] = {
    "joins": fetcher_pb2.FETCH_TARGET_JOINS,
    "group_bys": fetcher_pb2.FETCH_TARGET_GROUP_BYS,
}


@dataclass(frozen=True, slots=True)
class NamePage:
    """``next_token``: empty after the last page."""

    names: list[str]
    next_token: str


# calls


def fetch(kind: Kind, requests: Iterable[FetchLike], encoding: Encoding, *, freshness: bool) -> Call[list[FeatureRow]]:
    message = fetch_message(requests, encoding, freshness=freshness)
    return Call(METHODS[kind], message, partial(rows, len(message.requests)))


def stream_fetch(kind: Kind, requests: Iterable[FetchLike], encoding: Encoding, *, freshness: bool) -> Call[list[FeatureRow]]:
    message = fetch_message(requests, encoding, freshness=freshness)
    request = fetcher_pb2.StreamFetchRequest(target=TARGETS[kind], fetch=message)
    return Call("StreamFetch", request, partial(rows, len(message.requests)))


def join_schema(name: str) -> Call[JoinSchema]:
    return Call("GetJoinSchema", fetcher_pb2.GetJoinSchemaRequest(name=name), _join_schema)


def group_by_schema(name: str) -> Call[GroupBySchema]:
    return Call("GetGroupBySchema", fetcher_pb2.GetGroupBySchemaRequest(name=name), _group_by_schema)


def names(kind: Kind, page_token: str) -> Call[NamePage]:
    if kind == "joins":
        return Call("ListJoins", fetcher_pb2.ListJoinsRequest(page_token=page_token), _page)
    return Call("ListGroupBys", fetcher_pb2.ListGroupBysRequest(page_token=page_token), _page)


def explain(kind: Kind, request: FetchLike) -> Call[Explained]:
    return Call("Explain", fetcher_pb2.ExplainRequest(target=TARGETS[kind], request=request_message(Fetch(*request))), _explained)


# requests


def fetch_message(requests: Iterable[FetchLike], encoding: Encoding, *, freshness: bool) -> fetcher_pb2.FetchRequest:
    """Raises: TypeError, ValueError: a key is of no type that Chronon knows, or a number out of its range."""
    return fetcher_pb2.FetchRequest(
        requests=[request_message(Fetch(*request)) for request in requests],
        encoding=int(encoding),  # type: ignore[arg-type] # the numbers are the same
        include_freshness=freshness,
    )


def request_message(request: Fetch) -> fetcher_pb2.FeatureRequest:
    """Raises as ``fetch_message``."""
    message = fetcher_pb2.FeatureRequest(name=request.name, at_millis=request.at)
    for name, value in request.keys.items():
        _set(message.keys[name], value)
    return message


def _set(message: fetcher_pb2.Value, value: object) -> None:
    match value:
        case None:
            message.null_value = 0  # type: ignore[assignment] # NullValue has the one value
        case bool():
            message.bool_value = value
        case int():
            message.int_value = value
        case float():
            message.double_value = value
        case str():
            message.string_value = value
        case bytes():
            message.bytes_value = value
        case list() | tuple():
            message.list_value.SetInParent()
            for each in value:
                _set(message.list_value.values.add(), each)
        case Mapping():
            message.map_value.SetInParent()
            for name, each in value.items():
                _set(message.map_value.entries[name], each)
        case _:
            raise TypeError(f"a key is a {type(value).__name__}; use None, bool, int, float, str, bytes, list or dict")


# responses


def rows(size: int, response: fetcher_pb2.FetchResponse) -> list[FeatureRow]:
    """Raises: Internal: not one row for each request."""
    answers = response.responses
    if len(answers) != size:
        raise Internal(miscounted(size, len(answers)))
    if not response.columns:
        return [_row(answer, {name: read(value) for name, value in answer.features.items()}) for answer in answers]
    features: list[dict[str, Any]] = [{} for _ in answers]
    for column in response.columns:
        _spread(column, features)
    return [_row(answer, found) for answer, found in zip(answers, features, strict=True)]


def _row(response: fetcher_pb2.FeatureResponse, features: Mapping[str, Any]) -> FeatureRow:
    return FeatureRow(
        status=RowStatus(response.status),
        features=features,
        error=_errors.of_item(response.error) if response.HasField("error") else None,
        part_errors={part: _errors.of_item(error) for part, error in response.part_errors.items()},
        freshness={part: _freshness(found) for part, found in response.freshness.items()},
        avro=response.avro,
        schema_hash=response.schema_hash,
    )


def _spread(column: fetcher_pb2.FeatureColumn, features: Sequence[dict[str, Any]]) -> None:
    """Put the values of a column into the rows that have it."""
    name = column.name
    places = [features[row] for row in column.rows] if column.rows else features
    kind = column.WhichOneof("values")
    values: Any = getattr(column, kind).values if kind else ()
    found = iter(map(read, values) if kind == "other_values" else values)
    if column.nulls:
        for place, null in zip(places, column.nulls, strict=True):
            place[name] = None if null else next(found)
    else:
        for place, value in zip(places, found, strict=True):
            place[name] = value


def read(value: fetcher_pb2.Value) -> Any:
    """A value as Python has it; None for a null."""
    kind = value.WhichOneof("kind")
    match kind:
        case "null_value" | None:
            return None
        case "list_value":
            return [read(each) for each in value.list_value.values]
        case "map_value":
            return {name: read(each) for name, each in value.map_value.entries.items()}
        case _:
            return getattr(value, kind)


def _freshness(message: fetcher_pb2.Freshness) -> Freshness:
    return Freshness(message.batch_end_millis, message.stream_millis)


def _join_schema(response: fetcher_pb2.GetJoinSchemaResponse) -> JoinSchema:
    infos = tuple(ValueInfo(info.name, info.group, info.prefix, tuple(info.left_keys), info.type) for info in response.value_infos)
    return JoinSchema(response.name, response.key_schema, response.value_schema, response.schema_hash, infos)


def _group_by_schema(response: fetcher_pb2.GetGroupBySchemaResponse) -> GroupBySchema:
    return GroupBySchema(
        name=response.name,
        key_schema=response.key_schema,
        value_schema=response.value_schema,
        schema_hash=response.schema_hash,
        input_schema=response.input_schema,
        selected_schema=response.selected_schema,
        batch_end=response.batch_end_millis,
    )


def _page(response: fetcher_pb2.ListJoinsResponse | fetcher_pb2.ListGroupBysResponse) -> NamePage:
    return NamePage(list(response.names), response.next_page_token)


def _explained(response: fetcher_pb2.ExplainResponse) -> Explained:
    answer = response.response
    return Explained(
        row=_row(answer, {name: read(value) for name, value in answer.features.items()}),
        reads=tuple(_read(each) for each in response.reads),
        phases={phase.name: phase.duration.ToTimedelta() for phase in response.phases},
        feature_parts=dict(response.feature_parts),
    )


def _read(message: fetcher_pb2.ExplainedRead) -> ExplainedRead:
    error: ChronoserveError | None = _errors.of_item(message.error) if message.HasField("error") else None
    return ExplainedRead(
        part=message.part,
        dataset=message.dataset,
        key=message.key_bytes,
        after=message.after_ts_millis if message.HasField("after_ts_millis") else None,
        values=message.values,
        newest=message.newest_millis,
        freshness=_freshness(message.freshness) if message.HasField("freshness") else None,
        error=error,
        cached=message.cached,
    )
