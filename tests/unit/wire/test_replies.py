"""Replies as joined bytes equal those of the generated classes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chronoserve.model import values
from chronoserve.model.errors import CorruptValue, InvalidRequest, KVError, Throttled, UnknownDataset, WriteOutcomeUnknown
from chronoserve.v1 import kv_pb2
from chronoserve.wire import status
from chronoserve.wire.replies import HEADERS, multi_get_response, multi_put_response

ERRORS = st.builds(
    lambda kind, message: kind(message),
    st.sampled_from([CorruptValue, InvalidRequest, Throttled, UnknownDataset, WriteOutcomeUnknown]),
    st.text(),
)
ROWS = st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 2**63 - 1)), max_size=4)
LARGE = st.integers(len(HEADERS) - 30, len(HEADERS) + 30).map(lambda size: [(b"x" * size, 1)])
PUTS = st.lists(st.none() | ERRORS, max_size=40)


def encoded(row: list[tuple[bytes, int]]) -> bytes:
    return b"".join(values.encode(value, millis) for value, millis in row)


def response(result: list[tuple[bytes, int]] | KVError) -> kv_pb2.GetResponse:
    if isinstance(result, KVError):
        return kv_pb2.GetResponse(error=status.status(result))
    return kv_pb2.GetResponse(values=[kv_pb2.TimedValue(bytes=value, millis=millis) for value, millis in result])


@given(st.lists(ROWS | LARGE, max_size=20) | st.lists(ROWS | LARGE | ERRORS, max_size=20))
@example([])
@example([[]])
@example([[(b"x" * (1 << 21), 1)], [], InvalidRequest("no", field="f")])
def test_a_reply_to_multi_get_is_the_message_of_the_generated_class(results: list[list[tuple[bytes, int]] | KVError]) -> None:
    reply = multi_get_response([result if isinstance(result, KVError) else encoded(result) for result in results], 1 << 30)
    expected = kv_pb2.MultiGetResponse(responses=[response(result) for result in results])
    assert reply == expected.SerializeToString(deterministic=True)
    assert kv_pb2.MultiGetResponse.FromString(reply) == expected


@given(PUTS)
@example([None] * 10_000)
def test_a_reply_to_multi_put_is_the_message_of_the_generated_class(results: list[KVError | None]) -> None:
    expected = kv_pb2.MultiPutResponse(responses=[status.put_response(result) for result in results])
    assert multi_put_response(results) == expected.SerializeToString(deterministic=True)


def test_an_answer_over_the_limit_is_refused_before_it_is_put_together() -> None:
    value = bytes(1 << 20)
    with pytest.raises(InvalidRequest, match="fewer keys"):
        multi_get_response([value] * 1_000_000, 4 << 20)
    with pytest.raises(InvalidRequest, match="fewer keys"):
        multi_get_response([b"x" * 100] * 100, 10_000)
    assert len(multi_get_response([b"x" * 98] * 100, 10_000)) == 10_000
