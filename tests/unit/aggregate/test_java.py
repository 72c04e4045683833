"""Java's and Scala's hashes, maps and serialised objects."""

import pytest

from chronoserve.aggregate import java_stream
from chronoserve.aggregate.java import double_hash, long_hash, modified_utf8, serialised_string_md5, string_hash
from chronoserve.aggregate.java_map import JavaMap
from chronoserve.aggregate.scala_map import scala_double_hash, scala_long_hash, scala_order
from chronoserve.model.errors import CorruptValue


def test_hash_codes() -> None:
    assert [string_hash(text) for text in ("", "a", "hello", "\U0001f600")] == [0, 97, 99162322, 1772899]
    assert [long_hash(number) for number in (0, -1, 1 << 32, -(1 << 63))] == [0, 0, 1, 0x80000000]
    assert [double_hash(number) for number in (0.0, -0.0, 1.5, float("nan"))] == [0, 0x80000000, 0x3FF80000, 0x7FF80000]


def test_scala_hashes_equal_numbers_alike() -> None:
    assert scala_double_hash(7.0) == scala_long_hash(7) == 7
    assert scala_double_hash(-3.0) == scala_long_hash(-3) == 0xFFFFFFFD
    assert scala_long_hash(1 << 40) == long_hash(1 << 40) == scala_double_hash(float(1 << 40))
    assert scala_double_hash(1.5) == 0x3FC00000
    assert scala_double_hash(0.1) == double_hash(0.1)
    assert scala_double_hash(1e300) == double_hash(1e300)


def test_strings_in_modified_utf8() -> None:
    assert modified_utf8("a\0é\U0001f600") == b"a\xc0\x80\xc3\xa9\xed\xa0\xbd\xed\xb8\x80"


def test_md5_of_a_serialised_string() -> None:
    assert serialised_string_md5("abc") == "2a582c703dbdc724871fabe09e5bf210"
    assert len({serialised_string_md5("x" * length) for length in (0, 1, 65535, 65536)}) == 4


def test_a_hash_map_grows_past_three_quarters_and_a_copy_is_only_as_large_as_it_must() -> None:
    filled = JavaMap(string_hash, {str(number): 1 for number in range(12)})
    assert (filled.slots, filled.copied().slots) == (16, 32)
    filled["12"] = 1
    filled.grow()
    assert filled.slots == 32
    assert JavaMap(string_hash, {"a": 1, "b": 1}).copied().slots == 4
    assert JavaMap(string_hash).copied().slots == 16


def test_a_hash_map_is_iterated_by_slot_and_within_one_by_insertion() -> None:
    counts = JavaMap(string_hash, {"q": 1, "b": 2, "a": 3})  # q and a share the second of 16 slots
    assert list(counts.in_order()) == [("q", 1), ("a", 3), ("b", 2)]


def test_small_maps_of_scala_keep_the_order_of_insertion() -> None:
    four, five = [(9, 1), (1, 1), (5, 1), (3, 1)], [(9, 1), (1, 1), (5, 1), (3, 1), (7, 1)]
    assert scala_order(four, scala_long_hash) == four
    assert sorted(scala_order(five, scala_long_hash)) == sorted(five) != scala_order(five, scala_long_hash)


LONG = java_stream.Class("java.lang.Long", 0x3B8BE490CC8F23DF, 2, (("J", "value", ""),))
HOLDER = java_stream.Class("Holder", 1, 3, (("L", "text", "Ljava/lang/String;"), ("Z", "on", "")), LONG)


def held() -> java_stream.Object:
    shared = java_stream.Object(LONG, {"value": -5})
    return java_stream.Object(
        HOLDER, {"value": 7, "text": "é\U0001f600\0", "on": True}, [b"\x01\x02", shared, shared, None, java_stream.Bytes(b"xyz")]
    )


def test_objects_are_read_as_they_were_written() -> None:
    read = java_stream.Reader(java_stream.Writer().bytes(held())).object()
    assert read.values == {"value": 7, "text": "é\U0001f600\0", "on": True}
    block, first, second, nothing, data = read.written
    assert (block, first.values, nothing, data.data) == (b"\x01\x02", {"value": -5}, None, b"xyz")
    assert first is second


@pytest.mark.parametrize("length", range(0, 140, 7))
def test_a_stream_that_ends_too_early_is_corrupt(length: int) -> None:
    whole = java_stream.Writer().bytes(held())
    assert length < len(whole)
    with pytest.raises(CorruptValue):
        java_stream.Reader(whole[:length]).object()


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\xac\xed\x00\x05",
        b"\xac\xed\x00\x05\x70",
        b"\xac\xed\x00\x05\x74\x00\x01a",
        b"\xac\xed\x00\x05\x71\x00\x7e\x00\x00",
        b"\xac\xed\x00\x05\x73\x70",
        b"\xac\xed\x00\x05" + b"\x73\x72\x00\x01a" + bytes(8) + b"\x02\x00\x01" + b"Lx" * 40,
        java_stream.Writer().bytes(held()) + b"\x00",
    ],
)
def test_what_is_no_object_is_corrupt(stream: bytes) -> None:
    with pytest.raises(CorruptValue):
        java_stream.Reader(stream).object()


def test_deep_streams_are_refused_before_they_cost_the_stack() -> None:
    chain = b"\xac\xed\x00\x05" + (b"\x72\x00\x01a" + bytes(8) + b"\x02\x00\x00\x78") * 5000
    with pytest.raises(CorruptValue):
        java_stream.Reader(chain[:4] + b"\x73" + chain[4:]).object()
