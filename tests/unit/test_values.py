"""The travelling form of values: the bytes of chronoserve.v1.GetResponse, both ways, and nothing worse than CorruptValue."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from chronoserve.model import values
from chronoserve.model.errors import CorruptValue
from chronoserve.model.values import TimedValue
from chronoserve.v1 import kv_pb2

MILLIS = st.integers(0, 2**63 - 1)
ROWS = st.lists(st.builds(TimedValue, st.binary(max_size=300), MILLIS), max_size=8)


def message(row: list[TimedValue]) -> kv_pb2.GetResponse:
    return kv_pb2.GetResponse(values=[kv_pb2.TimedValue(bytes=value, millis=millis) for value, millis in row])


def encode(row: list[TimedValue]) -> bytes:
    return b"".join(values.encode(value, millis) for value, millis in row)


@given(ROWS)
@example([TimedValue(b"", 0), TimedValue(b"x" * 20_000, 2**63 - 1)])
def test_encoded_values_are_the_message_of_the_generated_class(row: list[TimedValue]) -> None:
    assert encode(row) == message(row).SerializeToString(deterministic=True)


@given(ROWS)
def test_values_of_the_generated_class_are_decoded(row: list[TimedValue]) -> None:
    assert values.decode(message(row).SerializeToString()) == row
    assert values.latest(encode(row)) == max(row, key=lambda value: value.millis, default=None)


@given(ROWS, MILLIS)
def test_since_keeps_what_is_at_or_after_its_time(row: list[TimedValue], after: int) -> None:
    assert values.since(encode(row), after) == encode([value for value in row if value.millis >= after])


@given(st.binary(max_size=60) | st.builds(bytes.__add__, st.just(b"\n"), st.binary(max_size=60)))
@example(b"\n")
@example(b"\n\x80")
@example(b"\n\x02\n\x05")
@example(b"\n\x04\n\x02ab\n")
@example(b"\n\x02\x10\xff")
def test_any_bytes_are_values_or_corrupt(data: bytes) -> None:
    try:
        row = values.decode(data)
    except CorruptValue:
        return
    try:
        parsed = kv_pb2.GetResponse.FromString(data)
    except DecodeError:
        pytest.fail("accepted what protobuf refuses")
    assert row == [TimedValue(value.bytes, value.millis % 2**64) for value in parsed.values]


@given(ROWS.filter(bool), st.data())
def test_a_flipped_bit_or_a_lost_end_is_never_another_exception(row: list[TimedValue], data: st.DataObject) -> None:
    whole = bytearray(encode(row))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        values.decode(cut)
    except CorruptValue:
        return


def test_an_endless_number_is_corrupt_at_once() -> None:
    with pytest.raises(CorruptValue):
        values.decode(b"\n" + b"\xff" * 4_000_000)
